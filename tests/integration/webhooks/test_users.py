"""Who may do what on the pages. If these fail, somebody approves his own write-off, or keeps a way in."""

import pytest
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from tests.integration.webhooks.conftest import PASSWORD, MakeClient
from tests.integration.webhooks.test_acts import asked, press
from tests.integration.webhooks.test_console import log_in, needy_case, token_of
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.users import SHARED, Role


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    """A ledger with a user of each role; each has his own name as password."""
    for name, role in (
        ("vera", Role.VIEWER),
        ("otto", Role.OPERATOR),
        ("ada", Role.APPROVER),
        ("al", Role.APPROVER),
    ):
        sqlite_ledger.users.add(name, role, hashed(name))
    return sqlite_ledger


def hashed(password: str) -> str:
    return generate_password_hash(password, "pbkdf2:sha256:1")


def come(client: FlaskClient, name: str, password: str | None = None, address: str = "192.0.2.1") -> int:
    """Log in by a name; return what the console answers."""
    environ = {"REMOTE_ADDR": address}
    token = token_of(client.get("/console/login", environ_base=environ).text)
    form = {"csrf_token": token, "name": name, "password": name if password is None else password}
    return client.post("/console/login", data=form, environ_base=environ).status_code


@pytest.fixture
def as_(make_client: MakeClient, ledger: Ledger) -> "As":
    return As(make_client)


class As:
    """Browsers of people who are logged in."""

    def __init__(self, make_client: MakeClient) -> None:
        self._make = make_client

    def __call__(self, name: str, **settings: int) -> FlaskClient:
        client = self._make(**settings)
        assert come(client, name, address="127.0.0.1") == 302
        return client


def test_a_viewer_reads_and_decides_nothing(as_: As, ledger: Ledger) -> None:
    case_id, vera = needy_case(ledger), as_("vera")
    page = vera.get(f"/console/cases/{case_id}").text
    assert "Write off" not in page
    form = {"csrf_token": token_of(page), "kind": "write_off", "why": "because"}
    assert vera.post(f"/console/acts/case/{case_id}", data=form).status_code == 403
    assert ledger.acts.all() == []


def test_an_operator_asks_and_an_approver_approves(as_: As, ledger: Ledger) -> None:
    otto = as_("otto")
    act = asked(otto, ledger, needy_case(ledger))
    assert act.actor == "otto"
    assert ">Approve<" not in otto.get(f"/console/acts/{act.id}").text
    assert press(otto, act, "approve") == 403
    assert press(as_("ada"), act, "approve") == 302
    assert ledger.acts.get(act.id).approved_by == ["ada"]


def test_under_four_eyes_two_people_approve(as_: As, ledger: Ledger) -> None:
    ada = as_("ada", approvals=2)
    act = asked(ada, ledger, needy_case(ledger))
    assert press(ada, act, "approve") == 302
    assert press(ada, act, "approve") == 409
    assert ledger.acts.get(act.id).state is ActState.SHOWN
    assert press(as_("al", approvals=2), act, "approve") == 302
    assert ledger.acts.get(act.id).state is ActState.APPROVED


def test_another_password_ends_the_users_sessions_and_nobody_elses(as_: As, ledger: Ledger) -> None:
    ada, al = as_("ada"), as_("al")
    ledger.users.change("ada", password_hash=hashed("another"))
    assert (ada.get("/console/").status_code, al.get("/console/").status_code) == (302, 200)


def test_who_is_shut_out_is_out_at_once(as_: As, ledger: Ledger, make_client: MakeClient) -> None:
    ada = as_("ada")
    ledger.users.disable("ada")
    assert ada.get("/console/").status_code == 302
    assert come(make_client(), "ada") == 401


def test_a_role_that_is_taken_away_is_gone_at_once(as_: As, ledger: Ledger) -> None:
    ada = as_("ada")
    act = asked(ada, ledger, needy_case(ledger))
    ledger.users.change("ada", role=Role.VIEWER)
    assert press(ada, act, "approve") == 403


@pytest.mark.parametrize("name", ["nobody", "ADA", "ada ", "", "x" * 10_000, "ada.0"])
def test_no_other_name_opens_anything(ledger: Ledger, client: FlaskClient, name: str) -> None:
    assert come(client, name, "wrong") == 401
    assert client.get("/console/").status_code == 302


def test_a_name_is_not_guessed_at_from_many_addresses(ledger: Ledger, client: FlaskClient) -> None:
    answers = [come(client, "ada", "wrong", f"192.0.2.{number}") for number in range(32)]
    assert answers == [401] * 30 + [429] * 2
    assert come(client, "al", address="192.0.2.99") == 302


def test_the_shared_password_goes_on_and_its_name_is_nobodys(ledger: Ledger, client: FlaskClient) -> None:
    with pytest.raises(InputUnusable):
        ledger.users.add(SHARED, Role.VIEWER, hashed("x"))
    assert log_in(client, PASSWORD).get("/console/").status_code == 200


@pytest.mark.parametrize("name", ["", " ", " ada", "ada\n", "ada\u202e", "x" * 101, "otto"])
def test_no_odd_or_taken_name_can_be_given(ledger: Ledger, name: str) -> None:
    with pytest.raises(InputUnusable):
        ledger.users.add(name, Role.VIEWER, hashed("x"))
