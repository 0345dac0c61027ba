"""If these fail, a stolen cookie opens a company's revenue, or a flood of logins keeps out the person on call."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from flask.testing import FlaskClient

from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import PASSWORD, MakeClient
from tests.integration.webhooks.test_console import log_in, token_of
from webhooks.console import logins

FAR = "https://metermend.example"


def stolen(operator: FlaskClient) -> str:
    cookie = operator.get_cookie("metermend", path="/console")
    assert cookie
    return cookie.value


def seen_with(client: FlaskClient, cookie: str, **environ: str) -> int:
    client.set_cookie("metermend", cookie, path="/console")
    return client.get("/console/", environ_base=environ).status_code


def tried(client: FlaskClient, password: str, address: str = "192.0.2.1") -> int:
    token = token_of(client.get("/console/login", environ_base={"REMOTE_ADDR": address}).text)
    form = {"csrf_token": token, "password": password}
    return client.post("/console/login", data=form, environ_base={"REMOTE_ADDR": address}).status_code


def tried_through_a_proxy(client: FlaskClient, password: str, forwarded_for: str) -> int:
    headers = {"X-Forwarded-For": forwarded_for}
    token = token_of(client.get("/console/login", headers=headers).text)
    return client.post(
        "/console/login", data={"csrf_token": token, "password": password}, headers=headers
    ).status_code


def test_a_copied_cookie_is_worth_nothing_after_the_logout(make_client: MakeClient) -> None:
    operator, thief = log_in(make_client()), make_client()
    cookie = stolen(operator)
    assert seen_with(thief, cookie) == 200
    operator.post("/console/logout", data={"csrf_token": token_of(operator.get("/console/").text)})
    assert seen_with(thief, cookie) == 302


def test_a_cookie_opens_nothing_in_another_browser_or_from_another_address(make_client: MakeClient) -> None:
    cookie = stolen(log_in(make_client()))
    assert seen_with(make_client(), cookie, HTTP_USER_AGENT="another") == 302
    assert seen_with(make_client(), cookie, REMOTE_ADDR="192.0.2.9") == 302
    assert seen_with(make_client(), cookie, REMOTE_ADDR="192.0.2.9", HTTP_X_FORWARDED_FOR="127.0.0.1") == 302


def test_a_session_ends_after_twelve_hours_whatever_its_cookie_says(
    make_client: MakeClient, clock: FrozenClock
) -> None:
    cookie = stolen(log_in(make_client()))
    clock.turn(hours=11)
    assert seen_with(make_client(), cookie) == 200
    clock.turn(hours=1, seconds=1)
    assert seen_with(make_client(), cookie) == 302


def test_one_logout_ends_one_session(make_client: MakeClient) -> None:
    here, there = log_in(make_client()), log_in(make_client())
    here.post("/console/logout", data={"csrf_token": token_of(here.get("/console/").text)})
    assert (here.get("/console/").status_code, there.get("/console/").status_code) == (302, 200)


@pytest.mark.parametrize(
    ("base", "console_url", "secure"),
    [
        ("http://127.0.0.1:4242", None, False),
        ("http://localhost:4242", None, False),
        ("http://[::1]:4242", None, False),
        ("http://metermend.internal", None, True),
        ("http://10.0.0.7:4242", None, True),
        ("http://127.0.0.1:4242", FAR, True),
        ("http://metermend.internal", "http://metermend.internal", True),
    ],
)
def test_cookies_go_over_https_only_but_to_the_machine_itself(
    make_client: MakeClient, base: str, console_url: str | None, secure: bool
) -> None:
    client = make_client(console_url=console_url)
    page = client.get("/console/login", base_url=base)
    form = {"csrf_token": token_of(page.text), "password": PASSWORD}
    sent = [page.headers["Set-Cookie"]]
    https = base.replace("http:", "https:") if secure else base  # else the browser would keep back the form's token
    client = make_client(console_url=console_url)
    form["csrf_token"] = token_of(client.get("/console/login", base_url=https).text)
    sent += client.post("/console/login", data=form, base_url=https, headers={"Referer": https}).headers.getlist(
        "Set-Cookie"
    )
    assert len(sent) >= 3
    assert {bool(morsel["secure"]) for one in sent for morsel in SimpleCookie(one).values()} == {secure}
    assert ("over HTTPS only" in page.text) is secure


@pytest.mark.parametrize(
    "then",
    [
        "/console/../../x",
        "/console/\r\nSet-Cookie: a=b",
        "/console/cases\r\n",
        "/console/logout",
        "/console/style.css",
        "//console/",
        "http://console/",
        "/console/?_external=True&_scheme=javascript",
        "/console/cases?state=a\r\nX: y",
        "/webhooks",
        "[",
        "//[",
        "/console/\ud800",
    ],
)
def test_a_login_leads_to_a_page_of_the_console_and_nowhere_else(client: FlaskClient, then: str) -> None:
    token = token_of(client.get("/console/login").text)
    form = {"csrf_token": token, "password": PASSWORD}
    query = {"then": then.encode("utf-8", "surrogatepass")}
    answer = client.post("/console/login", query_string=query, data=form)
    assert answer.status_code == 302
    path, _, rest = answer.headers["Location"].partition("?")
    assert path in ("/console/", "/console/cases")
    assert not set("\r\n") & set(rest)


def test_a_flood_of_logins_keeps_out_neither_a_known_browser_nor_another_address(make_client: MakeClient) -> None:
    flooder, operator = make_client(), make_client()
    assert tried(operator, PASSWORD) == 302
    answers = [tried(flooder, "wrong") for _ in range(logins.TRIES + 12)]
    assert answers == [401] * logins.TRIES + [429] * 12
    assert tried(flooder, PASSWORD) == 429
    neighbour = flooder.application.test_client()
    assert tried(neighbour, PASSWORD, "192.0.2.2") == 302
    known = operator.get_cookie(logins.KNOWN_COOKIE, path="/console/login")
    assert known
    flooder.set_cookie(logins.KNOWN_COOKIE, known.value, path="/console/login")
    assert tried(flooder, "wrong") == 401
    assert tried(flooder, PASSWORD) == 302


def test_behind_a_proxy_a_flood_keeps_out_its_own_address_only(make_client: MakeClient) -> None:
    client = make_client(trusted_proxies=1)
    for _ in range(logins.TRIES):
        assert tried_through_a_proxy(client, "wrong", "203.0.113.9, 192.0.2.66") == 401
    assert tried_through_a_proxy(client, PASSWORD, "198.51.100.1, 192.0.2.66") == 429
    assert tried_through_a_proxy(client, PASSWORD, "192.0.2.7") == 302


def test_without_a_trusted_proxy_nobody_chooses_their_address(make_client: MakeClient) -> None:
    client = make_client()
    for number in range(logins.TRIES):
        assert tried_through_a_proxy(client, "wrong", f"192.0.2.{number}") == 401
    assert tried_through_a_proxy(client, PASSWORD, "192.0.2.99") == 429


def test_many_tries_at_once_are_counted_one_by_one(make_client: MakeClient) -> None:
    """Each looked how often the address had been wrong before it waited for its turn."""
    app = make_client().application
    clients = [app.test_client() for _ in range(40)]
    with ThreadPoolExecutor(40) as pool:
        answers = Counter(pool.map(lambda client: tried(client, "wrong"), clients))
    assert answers[401] <= logins.TRIES
    assert answers[401] + answers[429] == 40


def test_a_proxy_on_the_same_machine_does_not_make_cookies_go_over_plain_http(client: FlaskClient) -> None:
    page = client.get("/console/login", base_url="http://127.0.0.1:4242", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in page.headers["Set-Cookie"]


def test_a_second_login_ends_the_first_session(make_client: MakeClient) -> None:
    operator, thief = log_in(make_client()), make_client()
    cookie = stolen(operator)
    log_in(operator)
    assert operator.get("/console/").status_code == 200
    assert seen_with(thief, cookie) == 302


def test_an_address_that_was_wrong_too_often_may_try_again_after_a_minute(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(logins.TRIES):
        tried(client, "wrong")
    assert tried(client, PASSWORD) == 429
    monkeypatch.setattr(logins, "MINUTE", 0.0)
    assert tried(client, PASSWORD) == 302


def test_a_forged_cookie_makes_no_known_browser(client: FlaskClient) -> None:
    for _ in range(logins.TRIES):
        tried(client, "wrong")
    client.set_cookie(logins.KNOWN_COOKIE, "eyJrbm93biI6dHJ1ZX0.forged.forged", path="/console/login")
    assert tried(client, PASSWORD) == 429


def test_a_known_browser_does_not_wait_behind_strangers(make_client: MakeClient) -> None:
    client = make_client()
    assert tried(client, PASSWORD) == 302
    with client.application.extensions["logins"]._strangers.lock:
        assert tried(client, PASSWORD) == 302


def test_many_addresses_do_not_fill_the_memory(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "ADDRESSES", 3)
    for number in range(6):
        tried(client, "wrong", f"192.0.2.{number}")
    assert len(client.application.extensions["logins"]._wrong) == 3


def test_the_ledger_holds_no_token_that_opens_a_session(make_client: MakeClient, clock: FrozenClock) -> None:
    client = log_in(make_client())
    ledger = client.application.extensions["console"]
    token = ledger.sessions.open(timedelta(hours=1))
    with ledger.database.read() as connection:
        held = connection.exec_driver_sql("select id from sessions").scalars().all()
    assert len(held) == 2
    assert not any(token in one or ledger.sessions.is_open(one) for one in held)
    clock.turn(hours=24)
    ledger.sessions.open(timedelta(hours=1))
    with ledger.database.read() as connection:
        assert connection.exec_driver_sql("select count(*) from sessions").scalar() == 1
