"""Deciding on a page. If these fail, a click writes off usage that nobody looked at, or nothing at all."""

import pytest
from flask.testing import FlaskClient

from tests.integration.webhooks.test_console import log_in, needy_case, token_of
from tests.recording import RecordingJobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import Act, ActState

EFFECT = {
    "summary": "12 records are written off",
    "records": 12,
    "quantities": {},
    "cases": {},
    "examples": [],
    "warnings": [],
}


@pytest.fixture
def operator(client: FlaskClient) -> FlaskClient:
    return log_in(client)


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    return sqlite_ledger


@pytest.fixture
def case_id(ledger: Ledger) -> str:
    return needy_case(ledger)


def ask(client: FlaskClient, case_id: str, **fields: str) -> str:
    """Ask for an act as the case's page does; return where that leads."""
    token = token_of(client.get(f"/console/cases/{case_id}").text)
    form = {"csrf_token": token, "kind": "write_off", "why": "too old", **fields}
    return client.post(f"/console/acts/case/{case_id}", data=form).headers.get("Location", "")


def asked(client: FlaskClient, ledger: Ledger, case_id: str) -> Act:
    """Ask for an act that a worker has looked at."""
    [act] = ledger.acts.all() if ask(client, case_id) else []
    return ledger.acts.show(act, EFFECT, "f" * 64)


def press(client: FlaskClient, act: Act, button: str, **fields: str) -> int:
    token = token_of(client.get(f"/console/acts/{act.id}").text)
    fields = {"fingerprint": act.fingerprint or "", **fields}
    return client.post(f"/console/acts/{act.id}/{button}", data={"csrf_token": token, **fields}).status_code


def test_what_is_asked_for_waits_for_a_worker_and_then_for_a_word(
    operator: FlaskClient, ledger: Ledger, queue: RecordingJobQueue, case_id: str
) -> None:
    where = ask(operator, case_id)
    [act] = ledger.acts.all()
    assert (act.state, act.subject, act.why) == (ActState.ASKED, case_id, "too old")
    assert where == f"/console/acts/{act.id}"
    assert queue.acts == [(act.id, 0)]
    assert 'http-equiv="refresh"' in operator.get(where).text
    shown = ledger.acts.show(act, EFFECT, "f" * 64)
    page = operator.get(where).text
    assert "12 records are written off" in page
    assert 'http-equiv="refresh"' not in page
    assert press(operator, shown, "approve") == 302
    assert ledger.acts.get(act.id).state is ActState.APPROVED
    assert queue.acts == [(act.id, 0), (act.id, 1)]


def test_a_form_without_a_reason_asks_for_nothing(operator: FlaskClient, ledger: Ledger, case_id: str) -> None:
    where = ask(operator, case_id, why="  ")
    assert where.endswith("act=write_off&missing=why#decide")
    page = operator.get(where).text
    assert "is missing" in page
    assert 'id="act-write_off" open' in page
    assert ledger.acts.all() == []


def test_nobody_approves_what_he_has_not_seen(operator: FlaskClient, ledger: Ledger, case_id: str) -> None:
    """The effect was another one when the page was drawn: the records of then are not those of now."""
    act = asked(operator, ledger, case_id)
    assert press(operator, act, "approve", fingerprint="e" * 64) == 409
    assert ledger.acts.get(act.id).state is ActState.SHOWN


def test_what_is_withdrawn_is_not_done(operator: FlaskClient, ledger: Ledger, case_id: str) -> None:
    act = asked(operator, ledger, case_id)
    assert press(operator, act, "withdraw") == 302
    assert press(operator, act, "approve") == 409
    assert ledger.acts.get(act.id).state is ActState.WITHDRAWN


def test_a_stranger_decides_nothing(client: FlaskClient, ledger: Ledger, case_id: str) -> None:
    act = ledger.acts.ask("write_off", case_id, {"case_id": case_id}, "Ada", "agreed")
    for path in (f"case/{case_id}", f"{act.id}/approve", f"{act.id}/withdraw"):
        assert client.post(f"/console/acts/{path}").status_code in (302, 400)
    assert client.get(f"/console/acts/{act.id}").status_code == 302
    assert ledger.acts.get(act.id).state is ActState.ASKED


def test_only_acts_that_a_page_offers_can_be_asked_for(operator: FlaskClient, ledger: Ledger, case_id: str) -> None:
    ask(operator, case_id, kind="revert_rule")
    assert ledger.acts.all() == []


def test_a_nul_is_refused_wherever_it_stands(operator: FlaskClient, ledger: Ledger, case_id: str) -> None:
    """PostgreSQL takes none: a stranger's name at the login would fill the log with tracebacks."""
    token = token_of(operator.get(f"/console/cases/{case_id}").text)
    assert operator.get("/console/cases", query_string={"q": "a\0b"}).status_code == 400
    assert operator.get("/console/acts/%00").status_code == 400
    form = {"csrf_token": token, "name": "a\0b", "password": "x"}
    assert operator.post("/console/login", data=form).status_code == 400
    ask(operator, case_id, why="a\0b")
    assert ledger.acts.all() == []


def test_a_field_that_a_form_does_not_have_is_left_out(operator: FlaskClient, ledger: Ledger, case_id: str) -> None:
    """No worker could make an act of it."""
    ask(operator, case_id, kind="set_value", record="r1", field="payload_value", value="1", waiting_for="undone")
    [act] = ledger.acts.all()
    assert set(act.arguments) == {"case_id", "record", "field", "value"}


def test_a_customer_is_mapped_from_the_page_of_a_case(operator: FlaskClient, ledger: Ledger, case_id: str) -> None:
    ask(operator, case_id, kind="map_customer", old="acme", new="cus_1")
    [act] = ledger.acts.all()
    assert (act.kind, act.arguments) == ("make_rule", {"rule": "customer", "key": "acme", "value": "cus_1"})


def test_redis_away_loses_no_decision(
    operator: FlaskClient, ledger: Ledger, queue: RecordingJobQueue, case_id: str
) -> None:
    queue.away = True
    assert ask(operator, case_id)
    assert [act.state for act in ledger.acts.all()] == [ActState.ASKED]
