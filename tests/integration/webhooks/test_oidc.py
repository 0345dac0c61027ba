"""If these fail, somebody enters the console as another, or a company's login keeps people out without a word."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from joserfc.jwk import ECKey, OctKey
from werkzeug.test import TestResponse

from tests.integration.webhooks.company_login import CLIENT, SECRET, Provider, running
from tests.integration.webhooks.conftest import MakeClient
from tests.integration.webhooks.test_console import log_in
from tests.integration.webhooks.test_users import hashed
from workers.cli.doctor_oidc import provider_found
from workers.kernel.errors import Permanent, Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.users import SHARED, Role

CONSOLE = "https://ops.example.com"


@pytest.fixture(scope="module")
def company() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
def provider(company: Provider) -> Provider:
    company.sound()
    return company


@pytest.fixture
def client(provider: Provider, make_client: MakeClient, sqlite_ledger: Ledger) -> FlaskClient:
    """A browser at a console that the company's login leads to; ada@example.com is an operator there."""
    sqlite_ledger.users.add("ada@example.com", Role.OPERATOR, hashed("x"))
    return browser(make_client, provider)


def browser(make_client: MakeClient, provider: Provider, **settings: Any) -> FlaskClient:
    oidc = {"oidc_issuer": provider.url, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET}
    return make_client(console_url=CONSOLE, **(oidc | settings))


def left(client: FlaskClient, then: str = "") -> str:
    """Press "Log in with your company's account"; return where that leads."""
    answer = client.get("/console/login/oidc", query_string={"then": then}, base_url=CONSOLE)
    assert answer.status_code == 302, answer.text
    return answer.location


def back(client: FlaskClient, query: str) -> TestResponse:
    return client.get(f"/console/login/oidc/return?{query}", base_url=CONSOLE)


def is_in(client: FlaskClient) -> bool:
    return client.get("/console/", base_url=CONSOLE).status_code == 200


def test_a_user_of_the_ledger_comes_in_and_goes_where_he_wanted_to(client: FlaskClient, provider: Provider) -> None:
    assert "Log in with your company" in client.get("/console/login", base_url=CONSOLE).text
    answer = back(client, provider.log_in(left(client, "/console/cases?state=open")))
    assert (answer.status_code, answer.location) == (302, "/console/cases?state=open")
    assert is_in(client)


def test_the_login_goes_no_further_than_the_console(client: FlaskClient, provider: Provider) -> None:
    """A link would lead to a page that asks for the password once more, and is another's."""
    answer = back(client, provider.log_in(left(client, "https://evil.example/console/")))
    assert answer.location == "/console/"


def test_a_session_ends_with_the_role_as_after_a_password(
    client: FlaskClient, provider: Provider, sqlite_ledger: Ledger
) -> None:
    back(client, provider.log_in(left(client)))
    sqlite_ledger.users.disable("ada@example.com")
    assert not is_in(client)
    assert back(client, provider.log_in(left(client))).status_code == 403


@pytest.mark.parametrize("name", ["eve@example.com", "ADA@example.com", SHARED, "x" * 1_000])
def test_who_is_no_user_of_the_ledger_stays_outside(client: FlaskClient, provider: Provider, name: str) -> None:
    """The provider knows the whole company, and the shared login of the settings may do everything."""
    provider.claims = {"email": name}
    answer = back(client, provider.log_in(left(client)))
    assert answer.status_code == 403
    assert "metermend user add" in answer.text
    assert not is_in(client)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"exp": 1},
        {"email": None},
        {"email": ["ada@example.com"]},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
    ],
)
def test_an_id_token_that_proves_nothing_lets_nobody_in(
    client: FlaskClient, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    answer = back(client, provider.log_in(left(client)))
    assert (answer.status_code, is_in(client)) == (401, False)
    assert "was not completed" in answer.text


@pytest.mark.parametrize(
    ("key", "alg"),
    [(ECKey.generate_key("P-256", {"kid": "1"}), "ES256"), (OctKey.import_key(SECRET * 4, {"kid": "1"}), "HS256")],
)
def test_an_id_token_that_another_has_signed_lets_nobody_in(
    client: FlaskClient, provider: Provider, key: ECKey | OctKey, alg: str
) -> None:
    provider.key, provider.alg = key, alg
    assert back(client, provider.log_in(left(client))).status_code == 401
    assert not is_in(client)


def test_a_login_that_another_has_begun_lets_nobody_in(
    client: FlaskClient, provider: Provider, make_client: MakeClient
) -> None:
    """Whoever follows a link would work in the session of whoever has sent it."""
    attacker = browser(make_client, provider)
    query = provider.log_in(left(attacker))
    left(client)
    for sent in (query, query.replace("state=", "state=x"), "code=code-0", "", "error=access_denied"):
        assert back(client, sent).status_code == 401
    assert not is_in(client)


def test_a_code_is_worth_nothing_the_second_time(client: FlaskClient, provider: Provider) -> None:
    query = provider.log_in(left(client))
    assert [back(client, query).status_code for _ in range(2)] == [302, 401]


def test_a_provider_that_is_away_is_named_and_passwords_go_on(client: FlaskClient, provider: Provider) -> None:
    query = provider.log_in(left(client))
    provider.away = True
    answer = back(client, query)
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert 'name="password"' in answer.text


def test_a_provider_that_was_never_there_is_named_and_is_asked_again(
    make_client: MakeClient, provider: Provider
) -> None:
    client = browser(make_client, provider)
    provider.away = True
    assert client.get("/console/login/oidc", base_url=CONSOLE).status_code == 503
    provider.away, provider.issuer = False, "https://another.example"
    assert client.get("/console/login/oidc", base_url=CONSOLE).status_code == 401
    provider.sound()
    assert left(client).startswith(provider.url)
    assert log_in(make_client(), "correct horse").get("/console/").status_code == 200


def test_another_claim_can_name_the_user(
    make_client: MakeClient, provider: Provider, sqlite_ledger: Ledger
) -> None:
    sqlite_ledger.users.add("ada", Role.VIEWER, hashed("x"))
    provider.claims = {"preferred_username": "ada", "email": None}
    client = browser(make_client, provider, oidc_claim="preferred_username")
    assert back(client, provider.log_in(left(client))).status_code == 302


@pytest.mark.parametrize("unset", ["oidc_issuer", "oidc_client_id", "oidc_client_secret"])
def test_without_all_of_its_settings_the_login_is_not_offered(
    make_client: MakeClient, provider: Provider, unset: str
) -> None:
    client = browser(make_client, provider, **{unset: None})
    assert "Log in with your company" not in client.get("/console/login", base_url=CONSOLE).text
    assert client.get("/console/login/oidc", base_url=CONSOLE).status_code == 404


def test_doctor_finds_the_provider_or_says_what_is_wrong_with_it(provider: Provider) -> None:
    assert provider.url in provider_found(provider.url)
    with pytest.raises(Permanent, match=r"write OIDC_ISSUER exactly so"):
        provider_found(f"{provider.url}/")
    with pytest.raises(Permanent, match="answers 404"):
        provider_found(f"{provider.url}/realm")
    with pytest.raises(Transient, match="could not be reached"):
        provider_found("http://127.0.0.1:1")
