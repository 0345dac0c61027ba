"""The list of cases. If these fail, whoever asks for a customer's usage is told that none of it was refused."""

from datetime import timedelta
from decimal import Decimal

import pytest
from flask.testing import FlaskClient

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.unit.webhooks.pages.conftest import HOSTILE, LONG, Look, next_page
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case import VALIDATION_REPORT
from workers.kernel.ledger.case_facts import CaseFacts, NameKind
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.money import Amount


def refused(ledger: Ledger, name: str, customer: str = "acme", file: str = "usage.csv", **about: str) -> str:
    """A case with records of a customer that wait for a person."""
    case = open_case(ledger, a_failure(name, **about))
    names = {NameKind.CUSTOMER: [customer], NameKind.FILE: [file], NameKind.METER: [case.failure.event_name or ""]}
    with ledger.cases.hold(case.id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 12), a_movement(EntryKind.QUARANTINED, 12))
        draft.know(CaseFacts({}, names, 1), Appraisal(12, None))
    return case.id


def test_no_case_is_said_in_so_many_words(look: Look) -> None:
    assert "No case is like that." in look("/cases")


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ("q", "initech"), ("q", "other.csv"), ("q", "OTHER MISHAP"), ("customer", "initech"), ("file", "other.csv"),
        ("meter", "minutes"), ("code", "no_meter"), ("older", "1_day"), ("state", "needs_person"),
    ],
)  # fmt: skip
def test_a_case_is_found_by_what_is_known_of_it(
    look: Look, sqlite_ledger: Ledger, clock: FrozenClock, asked: str, value: str
) -> None:
    about = {"code": "no_meter", "event_name": "minutes", "summary": "some other mishap"}
    wanted = refused(sqlite_ledger, "a", "initech", "other.csv", **about)
    clock.turn(days=2)
    other = refused(sqlite_ledger, "b")
    page = look("/cases", **{asked: value})
    assert f"/console/cases/{wanted}" in page
    assert (f"/console/cases/{other}" in page) == (asked == "state")


def test_a_case_says_what_it_is_worth_and_when_that_is_lost(
    look: Look, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    case = open_case(sqlite_ledger, a_failure())
    money = {"usd": Amount(Decimal("1234.5"), Decimal("1234.5"))}
    with sqlite_ledger.cases.hold(case.id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 12))
        draft.know(CaseFacts({}, {}, 1), Appraisal(12, clock() + timedelta(days=3, seconds=1), at_risk=money))
    clock.turn(seconds=1)
    settled = open_case(sqlite_ledger, a_failure("changed later"))
    assert look("/cases").index(case.id) < look("/cases").index(settled.id), "what is lost first comes first"
    page = look("/cases", lost="7_days")
    assert case.id not in look("/cases", lost="1_day")
    assert "USD 1,234.50" in page
    assert ">3 d 0 h</span>" in page
    assert "2026-11-24 09:30:01 UTC: its oldest open usage is too old to bill" in page


def test_a_case_names_the_customer_whose_invoice_is_its_deadline(
    look: Look, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    case = open_case(sqlite_ledger, a_failure())
    at = clock() + timedelta(days=3)
    with sqlite_ledger.cases.hold(case.id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 12))
        draft.know(CaseFacts({}, {}, 1), Appraisal(12, at + timedelta(days=9), invoice_at=at, invoice_of="cus_9"))
    for page in (look("/cases"), look(f"/cases/{case.id}")):
        assert "the next invoice of cus_9 is finalised" in page


def test_what_nobody_has_finds_nothing(look: Look, sqlite_ledger: Ledger) -> None:
    case_id = refused(sqlite_ledger, "a")
    for asked in ({"q": "%"}, {"customer": "acm"}, {"incident": "inc_none"}, {"state": "settled"}):
        assert f"/console/cases/{case_id}" not in look("/cases", **asked)
    assert f"/console/cases/{case_id}" in look("/cases", state="no_such_state", older="ever", sort="nonsense")


def test_an_events_own_id_leads_to_the_event(operator: FlaskClient, sqlite_ledger: Ledger) -> None:
    sqlite_ledger.events.record(
        NewEvent("evt_1", "thin", "v1.billing.meter.no_meter_found", livemode=False, raw=b"{}")
    )
    assert operator.get("/console/cases?q=evt_1").headers["Location"] == "/console/events/evt_1"
    assert operator.get("/console/cases?q=evt_2").status_code == 200


@pytest.mark.usefixtures("short_pages")
def test_the_filters_go_with_whoever_turns_the_page(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    ids = []
    for each in range(5):
        clock.turn(seconds=1)
        ids.append(open_case(sqlite_ledger, a_failure(f"{each}", code="no_meter")).id)
    first = look("/cases", code="no_meter", sort="changed")
    address = next_page(first)
    second = look(address)
    assert "code=no_meter" in address
    assert all((f"/cases/{case_id}" in first) != (f"/cases/{case_id}" in second) for case_id in ids)


def test_names_that_mean_no_good_are_only_shown(look: Look, sqlite_ledger: Ledger) -> None:
    about = {"kind": VALIDATION_REPORT, "code": HOSTILE, "event_name": HOSTILE, "summary": HOSTILE, "account": LONG}
    refused(sqlite_ledger, "a", HOSTILE, LONG, **about)
    assert "&lt;script&gt;" in look("/cases")
    assert "&lt;script&gt;" in look("/cases", q=HOSTILE, customer=HOSTILE, sort=HOSTILE)
