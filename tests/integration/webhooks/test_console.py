"""If these fail, a stranger reads a company's revenue, or the person on call cannot see what needs them."""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import PASSWORD, MakeClient, an_event, signed
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import EntryKind

PAGES = ["/console/", "/console/cases", "/console/cases/case_1", "/console/events/evt_1"]


def token_of(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


def log_in(client: FlaskClient, password: str = PASSWORD, address: str = "/console/login") -> FlaskClient:
    token = token_of(client.get(address).text)
    client.post(address, data={"csrf_token": token, "password": password})
    return client


@pytest.fixture
def operator(client: FlaskClient) -> FlaskClient:
    return log_in(client)


def needy_case(ledger: Ledger, key: str = "import_set:impset_1", **about: str) -> str:
    case = open_case(ledger, a_failure(key, **about))
    with ledger.cases.hold(case.id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 1200, "4800.25", event_id="evt_1"))
        draft.move(a_movement(EntryKind.QUARANTINED, 1200, "4800.25", detail={"reason": "<b>ambiguous</b>"}))
        draft.reschedule(None)
    return case.id


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_sees_nothing_but_the_login(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/console/login?then={path}")


def test_the_right_password_leads_to_where_one_wanted_to_go(client: FlaskClient) -> None:
    address = "/console/login?then=/console/cases?state%3Dneeds_person"
    token = token_of(client.get(address).text)
    answer = client.post(address, data={"csrf_token": token, "password": PASSWORD})
    assert answer.headers["Location"] == "/console/cases?state=needs_person"
    assert client.get("/console/").status_code == 200


@pytest.mark.parametrize("then", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", ""])
def test_a_login_never_leads_elsewhere(client: FlaskClient, then: str) -> None:
    token = token_of(client.get("/console/login").text)
    answer = client.post(
        "/console/login", query_string={"then": then}, data={"csrf_token": token, "password": PASSWORD}
    )
    assert answer.headers["Location"] == "/console/"


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " ", "x" * 100_000])
def test_a_wrong_password_opens_nothing(client: FlaskClient, password: str) -> None:
    token = token_of(client.get("/console/login").text)
    answer = client.post("/console/login", data={"csrf_token": token, "password": password})
    assert answer.status_code == 401
    assert client.get("/console/").status_code == 302


@pytest.mark.parametrize("path", ["/console/login", "/console/logout"])
def test_a_form_without_its_token_does_nothing(operator: FlaskClient, path: str) -> None:
    assert operator.post(path, data={"password": PASSWORD}).status_code == 400
    assert operator.get("/console/").status_code == 200


def test_logging_out_ends_the_session(operator: FlaskClient) -> None:
    token = token_of(operator.get("/console/").text)
    operator.post("/console/logout", data={"csrf_token": token})
    assert operator.get("/console/").status_code == 302


def test_a_changed_password_ends_every_session(make_client: MakeClient) -> None:
    old = log_in(make_client())
    cookie = old.get_cookie("metermend", path="/console")
    assert cookie
    for settings, status in ({}, 200), ({"console_password_hash": "pbkdf2:sha256:1$other$0f"}, 302):
        client = make_client(**settings)
        client.set_cookie("metermend", cookie.value, path="/console")
        assert client.get("/console/").status_code == status


def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_http(make_client: MakeClient) -> None:
    client = make_client(console_url="https://metermend.example")
    cookie = client.get("/console/login").headers["Set-Cookie"]
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/console"} <= set(cookie.split("; "))


def test_pages_allow_our_own_scripts_only_no_frame_and_no_cache(operator: FlaskClient) -> None:
    for path in ("/console/", "/console/login", "/console/nowhere"):
        headers = operator.get(path).headers
        assert "default-src 'none'; script-src 'self';" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert (headers["X-Frame-Options"], headers["Cache-Control"]) == ("DENY", "no-store")
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_an_empty_ledger_says_so(operator: FlaskClient) -> None:
    page = operator.get("/console/").text
    assert "No case waits for a person" in page
    assert "No refusal has been received yet" in page


def test_the_overview_puts_what_needs_a_person_first(operator: FlaskClient, sqlite_ledger: Ledger) -> None:
    calm = open_case(sqlite_ledger, a_failure("calm", summary="a calm case"))
    needy = needy_case(sqlite_ledger, summary="a needy case")
    page = operator.get("/console/").text
    assert page.index(needy) < page.index(calm.id)
    assert "800.25" not in page, "what is of several meters must not be added up"
    assert "1,200" in page


def test_cases_are_listed_by_state(operator: FlaskClient, sqlite_ledger: Ledger) -> None:
    needy = needy_case(sqlite_ledger)
    assert needy in operator.get("/console/cases?state=needs_person").text
    assert needy not in operator.get("/console/cases?state=settled").text
    assert needy in operator.get("/console/cases?state=no_such_state&before=nonsense").text


def test_a_long_list_goes_on_over_pages_and_shows_every_case(
    operator: FlaskClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    ids = []
    for number in range(60):
        clock.turn(seconds=1)
        ids.append(open_case(sqlite_ledger, a_failure(f"case {number}")).id)
    first = operator.get("/console/cases").text
    link = re.search(r'href="([^"]+)" rel="next"', first)
    assert link
    second = operator.get(link[1].replace("&amp;", "&")).text
    assert all((case_id in first) != (case_id in second) for case_id in ids)


def test_a_case_shows_its_book_its_advice_and_no_markup_of_others(
    operator: FlaskClient, sqlite_ledger: Ledger
) -> None:
    case_id = needy_case(sqlite_ledger, summary="<script>alert(1)</script>")
    page = operator.get(f"/console/cases/{case_id}").text
    assert f"metermend quarantine {case_id}" in page
    assert "1200 of 1200 records cannot be repaired" in page
    assert "quarantined" in page
    assert "/console/events/evt_1" in page
    assert "<script>" not in page
    assert "<b>" not in page


def test_a_case_that_is_stuck_says_so_first(operator: FlaskClient, sqlite_ledger: Ledger) -> None:
    case_id = needy_case(sqlite_ledger)
    with sqlite_ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.record_failure("the bucket refused our key", None)
    page = operator.get(f"/console/cases/{case_id}").text
    assert "Work on this case has stopped: the bucket refused our key" in page
    overview = operator.get("/console/").text
    assert overview.index("Stopped") < overview.index(case_id) < overview.index("Needs a person")
    assert overview.count(f"/console/cases/{case_id}") == 1


def test_an_event_shows_what_stripe_sent(operator: FlaskClient, clock: FrozenClock) -> None:
    body = an_event(note="<i>größe</i>")
    operator.post("/webhooks", data=body, headers=signed(body, clock))
    page = operator.get("/console/events/evt_1").text
    assert "data_management.import_set.failed" in page
    assert "&lt;i&gt;größe&lt;/i&gt;" in page


@pytest.mark.parametrize("event_id", ["evt/1", "evt ?#%", "..", "../x", "<b>"])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\ud800", "\\ud800"),
        ("\u202efdp.exe", "\\u202efdp.exe"),
        ("\x1b[2J", "u001b[2J"),
        ("</pre><b>", "&lt;b&gt;"),
    ],
    ids=["half a character", "writing turned round", "an escape", "markup"],
)
def test_an_event_has_a_page_whatever_it_holds_and_is_called(
    operator: FlaskClient, clock: FrozenClock, event_id: str, text: str, shown: str
) -> None:
    body = an_event(id=event_id, note=text)
    assert operator.post("/webhooks", data=body, headers=signed(body, clock)).status_code == 200
    page = operator.get(f"/console/events/{quote(event_id, safe='')}")
    assert page.status_code == 200
    assert shown in page.text
    assert text not in page.text
    assert "<b>" not in page.text


def test_what_a_case_says_in_others_words_cannot_turn_the_page_round(
    operator: FlaskClient, sqlite_ledger: Ledger
) -> None:
    case_id = needy_case(sqlite_ledger, event_name="\u202ecalls\u2028")
    assert "\\u202ecalls\\u2028" in operator.get(f"/console/cases/{case_id}").text


@pytest.mark.parametrize("state", EventState)
def test_usage_behind_a_failed_event_is_not_forgotten_for_want_of_a_next_step(
    operator: FlaskClient, clock: FrozenClock, sqlite_ledger: Ledger, state: EventState
) -> None:
    body = an_event()
    operator.post("/webhooks", data=body, headers=signed(body, clock))
    if state is not EventState.RECEIVED:
        sqlite_ledger.events.claim("evt_1", "one", timedelta(minutes=5))
    if state not in {EventState.RECEIVED, EventState.PROCESSING}:
        sqlite_ledger.events.finish("evt_1", "one", state, "the bucket refused our key")
    page = operator.get("/console/events/evt_1").text
    assert ("<code>metermend events retry evt_1</code>" in page) == (state is EventState.FAILED)


@pytest.mark.parametrize("path", ["/console/cases/case_none", "/console/events/evt_none", "/console/nowhere"])
def test_what_is_not_there_gets_a_page_that_says_so(operator: FlaskClient, path: str) -> None:
    answer = operator.get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.text


def test_what_is_not_there_gets_a_machine_one_word(client: FlaskClient) -> None:
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.json) == (404, {"error": "not_found"})


def test_a_ledger_that_is_down_gets_a_page_that_says_so(make_client: MakeClient, tmp_path: Path) -> None:
    ledger = connect(f"sqlite:///{tmp_path / 'unmigrated.db'}")
    client = make_client(ledger=ledger)
    token = token_of(client.get("/console/login").text)
    answer = client.post("/console/login", data={"csrf_token": token, "password": PASSWORD})
    ledger.close()
    assert answer.status_code == 503
    assert "The ledger does not answer" in answer.text


def test_our_own_fault_shows_no_traceback(
    client: FlaskClient, sqlite_ledger: Ledger, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(sqlite_ledger.events, "record_together", fail)
    body = an_event()
    answer = client.post("/webhooks", data=body, headers=signed(body, clock))
    assert (answer.status_code, answer.json) == (500, {"error": "internal_error"})
    assert "secret detail" not in answer.text
