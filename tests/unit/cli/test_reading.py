"""If these fail, a person cannot see what a case is about, or looks for a customer's case and does not find it."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.books import Book, a_context
from tests.builders import a_failure
from tests.conftest import FrozenClock
from tests.unit.cli.usage import run
from workers.kernel.case_title import title
from workers.kernel.clock import utc_now
from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case import VALIDATION_REPORT
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.money import Amount
from workers.kernel.settings import Settings
from workers.pipeline.case_facts import facts_of

HOSTILE = "\x1b[2Jcus\u202e_1"
REPORT: dict[str, Any] = {
    "kind": VALIDATION_REPORT,
    "code": str(Code.CUSTOMER_NOT_FOUND),
    "event_name": "api_calls",
}


@pytest.fixture
def book(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Book:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", str(sqlite_ledger.database.engine.url))
    monkeypatch.setenv("ARCHIVE_URL", str(tmp_path / "archive"))
    monkeypatch.setenv("SCRATCH_DIR", str(tmp_path / "scratch"))
    return a_book(Book(a_context(sqlite_ledger, tmp_path, clock), **REPORT), HOSTILE)


def a_book(book: Book, reason: str) -> Book:
    book.move(EntryKind.QUARANTINED, [0, 1], reason=reason, detail={"reasons": {reason: 2}})
    with book.held() as held:
        facts = facts_of(book.context, held)
        with held.transaction() as transaction:
            transaction.know(*facts)
    return book


def test_a_title_says_what_happened_to_whom_and_since_when(clock: FrozenClock) -> None:
    of = a_failure(**REPORT)
    earlier = clock.now.replace(day=3)
    assert title(of, 17, clock.now, clock.now) == (
        "17 records of api_calls name customers that Stripe does not know, since 09:30 UTC"
    )
    assert title(of, 1, earlier, clock.now) == (
        "1 record of api_calls names a customer that Stripe does not know, since 3 Nov 09:30 UTC"
    )
    for code in (*Code, MALFORMED_RECORD):
        assert code not in title(a_failure(**{**REPORT, "code": str(code)}), 2, earlier, clock.now)
    assert "were refused for brand_new" in title(
        a_failure(**{**REPORT, "code": "brand_new"}), 2, earlier, clock.now
    )


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_case_is_shown_whole_within_the_terminal(book: Book, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("workers.cli.case.terminal_width", lambda: width)
    shown = run("case", "show", book.case_id)
    assert shown.exit_code == 0, shown.output
    for part in ("6 records of api_calls", "Stripe: refused", "wait for a person", "metermend fix", "quarantined"):
        assert part in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout
    copied = [line for line in shown.stdout.splitlines() if "metermend " not in line]
    assert max(map(len, copied)) <= width


def test_a_case_as_json_has_its_quantities_exact_and_by_meter(book: Book) -> None:
    told = json.loads(run("case", "show", book.case_id, "--json").stdout)
    [meter] = told["quantities"]
    assert (meter["meter"], meter["buckets"]["quarantined"]) == ("api_calls", {"records": 2, "quantity": "2"})
    assert told["records"]["failed"] == 6
    assert f"metermend retry {book.case_id}" in told["commands"]
    assert told["deadline"] > told["since"]


def test_what_is_at_risk_and_by_when_is_shown_with_what_is_not_known(book: Book) -> None:
    ledger, now = book.context.ledger, utc_now()
    case = ledger.cases.get(book.case_id)
    assert case is not None
    soon = now + timedelta(hours=30)
    worth = {"usd": Amount(Decimal("1234.5"), Decimal(2000))}
    appraisal = Appraisal(6, soon + timedelta(days=3), ["cus_1"], soon, worth, ["tokens has no active price"])
    ledger.appraisals.keep([(case, appraisal, None)])
    shown = run("case", "show", book.case_id).stdout
    assert "At risk: USD 1,234.50 to 2,000.00." in shown
    assert "Not known: tokens has no active price." in shown
    listed = run("cases", "--sort", "risk").stdout
    assert f"USD 1,234.50 to 2,000.00  {soon:%Y-%m-%d %H:%M}" in listed
    [told] = json.loads(run("cases", "--json", "--lost-within", "36h").stdout)
    assert (told["at_risk"], told["deadline_because"]) == ({"usd": ["1234.5", "2000"]}, "invoice")
    assert found("--lost-within", "24h") == []


def test_cases_are_found_by_what_stands_in_their_records(book: Book) -> None:
    other = a_book(Book(book.context, 3, key="other", summary="rows of b.csv were refused"), "x")
    for option, name in (("--customer", "cus_1"), ("--file", "usage.csv"), ("--meter", "api_calls")):
        assert found("--sort", "quantity", option, name) == [book.case_id, other.case_id]
        assert found(option, "nobody") == []
    assert found("--code", REPORT["code"]) == [book.case_id]
    assert found("--text", "B.CSV") == [other.case_id]
    assert found("--older-than", "1min", "--state", "open", "--sort", "age") != []
    assert set(found("--sort", "deadline")) == {book.case_id, other.case_id}
    assert run("cases", "--older-than", "soon").exit_code == 2


def found(*options: str) -> list[str]:
    return [case["case"] for case in json.loads(run("cases", "--json", *options).stdout)]


def test_failed_events_come_first_and_one_shows_what_it_led_to(book: Book) -> None:
    events = book.context.ledger.events
    for event_id in ("evt_1", "evt_2"):
        body = {"id": event_id, "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found",
                "livemode": False, "created": "2026-11-21T09:00:00Z"}  # fmt: skip
        events.record(read_envelope(json.dumps(body).encode(), livemode=False))
    events.claim("evt_1", "w", book.context.lease)
    events.finish("evt_1", "w", EventState.FAILED, "no_error_in_it")
    events.keep_fetched("evt_1", b'{"data": 7}')
    listed = run("events", "--json")
    assert listed.exit_code == 0, listed.output
    assert [one["event"] for one in json.loads(listed.stdout)] == ["evt_1", "evt_2"]
    assert run("events", "--state", "done").stdout == "no events\n"
    shown = run("events", "show", "evt_1").stdout
    for part in ("no error in it", book.case_id, '"data": 7', "metermend events retry evt_1"):
        assert part in shown
    assert run("events", "show", "evt_none").exit_code == 2
