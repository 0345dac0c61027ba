"""If these fail, usage that no event told of is never billed, or stays billed twice, and nobody is told."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi, RecordingUsageSources
from tests.unit.cli.usage import run
from tests.unit.pipeline.totals.play import DAY, METER, a_frame, a_row, stripe_counts
from workers.kernel.errors import SettingsUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.journal import EntryKind
from workers.pipeline.advance import advance
from workers.pipeline.audit.audit_walk import Finding, Question, Walk, audit_daily
from workers.pipeline.audit.prove import prove
from workers.pipeline.audit.totals_check import Compared, Verdict
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver
from workers.pipeline.upkeep.retry import retry_case
from workers.records.schema import WRITTEN
from workers.sources import NOWHERE

ROWS = [a_row("a", "5"), a_row("b", "3"), a_row("b", "3", **{"@source": "copy.csv"})]


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A sender of two records of one customer's day, in two files."""
    made = a_context(sqlite_ledger, tmp_path, clock, sources=RecordingUsageSources(a_frame(ROWS)))
    monkeypatch.setattr("workers.cli.audit.open_context", lambda: made)
    return made


def found(context: Context, question: Question = Question()) -> list[Finding]:  # noqa: B008 (frozen)
    return list(Walk(context, question).findings())


def the_day(context: Context) -> Compared:
    """The one day that is compared."""
    (one,) = found(context)
    assert one.compared is not None
    return one.compared


def summaries(context: Context) -> int:
    assert isinstance(context.stripe, RecordingStripeApi)
    return sum(call.method == "event_summaries" for call in context.stripe.calls)


@pytest.mark.parametrize(
    ("total", "verdict", "why"),
    [
        ("8", Verdict.EQUAL, ""),
        ("5", Verdict.MISSING, "b (usage.csv row 2) alone explains it."),
        (
            "1",
            Verdict.MISSING,
            "No single one of its 2 records explains it: a (usage.csv row 1), b (usage.csv row 2).",
        ),
        ("11", Verdict.SURPLUS, "1 of its records stand in a second file (copy.csv), with 3 in all."),
    ],
)
def test_each_day_is_compared_and_what_may_explain_a_difference_is_named(
    context: Context, total: str, verdict: Verdict, why: str
) -> None:
    stripe_counts(context, [("cus_1", DAY, total)])
    compared = the_day(context)
    assert (compared.day, compared.verdict, compared.why) == (DAY.date(), verdict, why)


def test_a_surplus_as_large_as_what_we_sent_is_laid_to_us(context: Context, clock: FrozenClock) -> None:
    """Its first try had been billed before it was sent again."""
    book = Book(context, 1)
    book.confirm([0], book.send([0]))
    clock.turn(days=1)
    context = replace(context, sources=RecordingUsageSources())
    stripe_counts(context, [("cus_1", DAY.replace(day=21), "1.0")])
    assert the_day(context).why.startswith("metermend has sent as much of it: u0 (usage.csv row 1)")


@pytest.mark.parametrize("sent_to", [None, "metronome"])
def test_what_stripe_is_known_to_have_refused_is_missed_by_nobody(
    context: Context, clock: FrozenClock, sent_to: str | None
) -> None:
    """Nor is what was sent to another biller since."""
    book = Book(context, 3)
    if sent_to:
        book.confirm([0], book.send([0, 1], target=sent_to))
    clock.turn(days=1)
    rows = [book.frame.select(pl.all().exclude("^@record|@revision|@origin|@counted_as|@refused_as$"))]
    sound = a_frame([a_row("s", "4", timestamp=book.frame["timestamp"].item(0), **{WRITTEN: DAY.replace(day=22)})])
    context = replace(context, sources=RecordingUsageSources(pl.concat([*rows, sound], how="diagonal")))
    stripe_counts(context, [("cus_1", DAY.replace(day=21), "4")])
    assert the_day(context).verdict is Verdict.EQUAL


def test_a_customer_whom_stripe_does_not_know_is_not_compared(context: Context) -> None:
    stripe_counts(context, []).customers = []
    compared = the_day(context)
    assert (compared.verdict, compared.own) == (Verdict.NOT_COMPARABLE, None)
    assert "no such customer" in compared.why


def test_a_meter_whose_total_is_no_sum_is_named_and_not_asked(context: Context) -> None:
    stripe = stripe_counts(context, [])
    stripe.meters = [METER | {"default_aggregation": {"formula": "last"}}]
    (finding,) = found(context)
    assert (finding.compared, "formula is last" in (finding.why or "")) == (None, True)
    assert summaries(context) == 0


def test_a_difference_opens_one_case_that_waits_for_a_person_and_stays_so(context: Context) -> None:
    """A retry must not plan it, an equal total not close it, and asking again not count it twice."""
    stripe = stripe_counts(context, [("cus_1", DAY, "5")])
    for _ in range(2):
        (finding,) = found(context)
    assert finding.case_id is not None
    advance(context, finding.case_id)
    deliver(context, quiet=timedelta(0))
    (notice,) = context.alerts.posted  # type: ignore[attr-defined]
    assert notice.next_step.command == "metermend audit"
    retry_case(context, finding.case_id)
    advance(context, finding.case_id)
    stripe.summaries.clear()
    stripe_counts(context, [("cus_1", DAY, "8")])
    for _ in range(2):
        assert found(context)[0].case_id is None
    case = context.ledger.cases.get(finding.case_id)
    assert case is not None
    assert (case.state, case.balance.failed.records) == (CaseState.NEEDS_PERSON, 1)
    entries = context.ledger.queries.entries(case.id)
    assert [entry.kind for entry in entries] == [EntryKind.SEEN, EntryKind.QUARANTINED, EntryKind.NOTED]
    assert (
        entries[1].detail["suggestions"]["missing_in_totals"].startswith("Stripe has 5, the records come to 8: 3")
    )
    assert entries[2].detail["note"] == "Stripe has 8 by now, as the records come to."
    assert [one.breach for one in prove(context.ledger, context.archive)] == [None]


def test_the_audit_ends_where_its_calls_do_and_goes_on_there_the_next_day(
    context: Context, clock: FrozenClock
) -> None:
    customers = [f"cus_{n}" for n in range(5)]
    rows = [a_row(f"i{n}", "1", payload_stripe_customer_id=customer) for n, customer in enumerate(customers)]
    few = context.settings.model_copy(update={"audit_calls": 2})
    context = replace(context, settings=few, sources=RecordingUsageSources(a_frame(rows)))
    stripe_counts(context, [(customer, DAY, "1") for customer in customers])
    turns = []
    for _ in range(3):
        audit_daily(context)
        turns.append(audit_daily(context)[0])
        clock.turn(days=1)
    asked = [call.subject for call in context.stripe.calls if call.method == "event_summaries"]  # type: ignore[attr-defined]
    assert asked == [f"mtr_1 {customer} day" for customer in customers]
    assert turns == [0, 0, 0]


def test_days_before_the_one_that_is_asked_for_and_days_that_are_not_over_are_left_out(
    context: Context, clock: FrozenClock
) -> None:
    stripe_counts(context, [])
    walk = Walk(context, Question(since=date(2026, 11, 19)))
    assert ((walk.first, walk.last), list(walk.findings())) == ((date(2026, 11, 19), date(2026, 11, 20)), [])
    clock.now = clock.now.replace(hour=0, minute=59)
    assert Walk(context, Question()).last == date(2026, 11, 19)


def test_a_connected_account_is_compared_with_its_own_files(context: Context) -> None:
    """Another account's usage would be its surplus."""
    theirs = replace(context, sources=NOWHERE, account_sources={"acct_1": context.sources})
    stripe = stripe_counts(context, [("cus_1", DAY, "5")])
    (finding,) = found(theirs)
    assert {call.account for call in stripe.calls} == {"acct_1"}
    case = context.ledger.cases.get(finding.case_id or "")
    assert case is not None
    assert (case.failure.account, case.failure.key) == ("acct_1", "audit:acct_1:mtr_1:cus_1:2026-11-18")


def test_without_sources_there_is_nothing_to_compare(context: Context) -> None:
    """Every customer's usage would be a surplus."""
    without = replace(context, sources=NOWHERE)
    assert audit_daily(without) == (0, 0)
    with pytest.raises(SettingsUnusable, match="USAGE_SOURCES"):
        Walk(without, Question())


def test_the_command_says_what_differs_in_eighty_columns_and_what_to_do_next(context: Context) -> None:
    stripe_counts(context, [("cus_1", DAY, "5")])
    result = run("audit", "--since", "2026-11-01", "--strict")
    assert (result.exit_code, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["days 2026-11-01 to 2026-11-20 (UTC)", "api_calls: 1 missing"]
    assert lines[3:6] == [
        "missing  2026-11-18  cus_1  api_calls",
        "  Stripe has 5, the records come to 8: 3 less. b (usage.csv row 2) alone",
        "  explains it.",
    ]
    assert lines[-1] == "Next: see each case in the console, or `metermend cases --state needs_person`."
    assert max(map(len, lines)) <= 80
    document = json.loads(run("audit", "--json").stdout)
    assert {**document["compared"][0], "case": None} == {
        "account": None, "meter": "api_calls", "customer": "cus_1", "day": "2026-11-18", "verdict": "missing",
        "stripe": "5", "own": "8", "why": "b (usage.csv row 2) alone explains it.", "case": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--since", "yesterday"], "'yesterday' is no day"),
        (["--since", "2026-11-21"], "no day since then is over"),
        (["--meter", "nope"], "no meter has this event name"),
    ],
)
def test_what_cannot_be_asked_ends_in_one_line(context: Context, options: list[Any], what: str) -> None:
    stripe_counts(context, [])
    result = run("audit", *options)
    assert (result.exit_code, what in result.stderr, len(result.stderr.splitlines())) == (2, True, 1)
