"""If these fail, mended usage stays unbilled, or usage that may be billed already is sent again unasked."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.books import EVENT, Book, a_context, records_of, some_usage
from tests.builders import a_failure
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue
from workers.kernel.advice import reasons_of
from workers.kernel.errors import Conflict, InputUnusable, Permanent
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.reasons import UNCERTAIN
from workers.pipeline.audit.prove import prove
from workers.pipeline.case_key import FAILED_RECORDS, UNEXPLAINED_FILE, WHOLE_FILE
from workers.pipeline.context import Context
from workers.pipeline.intake.open_case import Seen, take_in_seen
from workers.pipeline.intake.unlocated import Unlocated
from workers.pipeline.record_sets import DATA, RECORD
from workers.pipeline.upkeep.retry import retry_case, retry_event
from workers.records.schema import IDENTIFIER, REASON


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    sqlite_ledger.events.record(NewEvent(EVENT, "thin", "v1.billing.meter.error_report_triggered", False, b"{}"))
    return a_context(sqlite_ledger, tmp_path, clock)


def jobs(context: Context) -> RecordingJobQueue:
    assert isinstance(context.queue, RecordingJobQueue)
    return context.queue


def holds(context: Context, case_id: str) -> bool:
    return next(prove(context.ledger, context.archive, case_id)).breach is None


def identifiers(context: Context, case_id: str, bucket: Bucket) -> list[str]:
    records = records_of(context, case_id, bucket)
    return [] if records is None else records.select(IDENTIFIER).collect().to_series().to_list()


def test_quarantined_records_are_planned_anew(context: Context) -> None:
    book = Book(context, 3)
    book.move(EntryKind.QUARANTINED, [0, 1], reason="ambiguous_value")
    retried = retry_case(context, book.case_id)
    assert (retried.reopened, retried.kept_back) == (2, {})
    assert book.balance(Bucket.PENDING) == 3
    assert [case_id for case_id, *_ in jobs(context).cases] == [book.case_id]
    pending = records_of(context, book.case_id, Bucket.PENDING)
    assert pending is not None
    assert REASON not in pending.collect_schema()
    assert holds(context, book.case_id)


@pytest.mark.parametrize("reason", UNCERTAIN)
def test_records_that_may_be_billed_already_are_left_alone(context: Context, reason: str) -> None:
    book = Book(context, 3)
    book.move(EntryKind.QUARANTINED, [0], reason=reason)
    book.move(EntryKind.QUARANTINED, [1], reason="ambiguous_value")
    retried = retry_case(context, book.case_id)
    assert (retried.reopened, dict(retried.kept_back)) == (1, {reason: 1})
    assert identifiers(context, book.case_id, Bucket.QUARANTINED) == ["u0"]


def test_what_was_taken_up_is_no_reason_for_waiting_any_more(context: Context) -> None:
    """The console would send somebody after records that wait for nobody."""
    book = Book(context, 2)
    for record, reason in enumerate(("arrival_unknown", "ambiguous_value")):
        book.move(EntryKind.QUARANTINED, [record], reason=reason, detail={"reasons": {reason: 1}})
    retry_case(context, book.case_id)
    assert list(reasons_of(context.ledger.queries.entries(book.case_id))) == ["arrival_unknown"]


def test_on_somebodys_word_a_record_of_unknown_arrival_is_sent_again_under_its_own_identifier(
    context: Context,
) -> None:
    book = Book(context, 3)
    submission = book.send([0, 1, 2])
    book.move(EntryKind.HELD, [0, 1], reason="arrival_unknown", submission_id=submission)
    book.move(EntryKind.HELD, [2], reason="identifier_taken", submission_id=submission)
    retried = retry_case(context, book.case_id, approved_by="ada")
    assert (retried.reopened, retried.resent) == (0, 3)
    assert identifiers(context, book.case_id, Bucket.PLANNED) == ["u0", "u1", "u2~r2"]
    approved = [e for e in context.ledger.queries.entries(book.case_id) if e.kind == EntryKind.APPROVED]
    assert [(entry.actor, entry.records) for entry in approved] == [("ada", 3)]
    assert holds(context, book.case_id)


def test_on_somebodys_word_the_guards_judge_an_overwrite_again(context: Context) -> None:
    book = Book(context, 2)
    book.move(EntryKind.QUARANTINED, [0], reason="would_overwrite")
    assert retry_case(context, book.case_id, approved_by="ada").reopened == 1
    assert book.balance(Bucket.PENDING) == 2


def test_a_case_in_trouble_is_carried_on(context: Context) -> None:
    book = Book(context, 1)
    with book.held() as held, held.transaction() as transaction:
        transaction.record_failure("given up: the bucket is gone", None)
    retry_case(context, book.case_id)
    case = context.ledger.cases.get(book.case_id)
    assert case is not None
    assert (case.trouble, case.due_at) == (None, context.clock())


def test_an_ended_event_is_taken_up_again_and_one_in_work_is_not(context: Context) -> None:
    context.ledger.events.claim(EVENT, "worker", context.lease)
    with pytest.raises(InputUnusable, match="a worker has it just now"):
        retry_event(context, EVENT)
    context.ledger.events.finish(EVENT, "worker", EventState.FAILED, "no key")
    retry_event(context, EVENT)
    assert [event_id for event_id, *_ in jobs(context).events] == [EVENT]


@pytest.mark.parametrize("subject", ["evt_nobody", "case_nobody"])
def test_an_unknown_id_is_one_clear_error(context: Context, subject: str) -> None:
    with pytest.raises(InputUnusable, match=f"{subject}: there is no such event or case"):
        (retry_case if subject.startswith("case") else retry_event)(context, subject)


def counted(context: Context, found: int, *, first: int = 0, named: Sequence[str] = (), **missing: int) -> str:
    """Take the failure in: rows that were found, others by reason, and those of them that Stripe names."""
    counts = missing | ({"not_in_sources": len(named)} if named else {})
    return take_in_seen(
        context,
        Seen(
            a_failure(code="meter_event_customer_not_found"),
            [some_usage(found, first=first)] if found else [],
            DATA,
            EVENT,
            Unlocated(
                counts, dict.fromkeys(counts, "Name your sources."), {"not_in_sources": named} if named else {}
            ),
        ),
    )


def stands(context: Context, case_id: str) -> tuple[int, int, dict[str, int]]:
    """How many records the case has in all, how many have rows, and how many are only counted, by reason."""
    case = context.ledger.cases.get(case_id)
    assert case is not None
    assert holds(context, case_id)
    counted_only = unlocated(context.ledger.queries.entries(case_id))
    return case.balance.failed.records, case.balance[Bucket.PENDING].records, dict(counted_only)


def test_rows_that_are_found_later_take_the_place_of_those_that_were_counted(context: Context) -> None:
    case_id = counted(context, 2, named=["u2", "u3", "u9"], not_sampled=4)
    assert counted(context, 4, named=["u9"], not_sampled=4) == case_id
    assert stands(context, case_id) == (9, 4, {"not_sampled": 4, "not_in_sources": 1})
    pending = records_of(context, case_id, Bucket.PENDING)
    assert pending is not None
    assert pending.select(IDENTIFIER, RECORD).collect().rows() == [("u0", 0), ("u1", 1), ("u2", 2), ("u3", 3)]
    case = context.ledger.cases.get(case_id)
    assert counted(context, 4, named=["u9"], not_sampled=4) == case_id
    assert context.ledger.cases.get(case_id) == case


def test_rows_that_a_second_report_names_take_the_place_of_those_that_the_first_only_counted(
    context: Context,
) -> None:
    """Two events about one change: counted as new, the journal would claim usage that never was."""
    case_id = counted(context, 2, not_sampled=4)
    for _ in range(2):
        counted(context, 3, first=2, not_sampled=3)
        assert stands(context, case_id) == (6, 5, {"not_sampled": 1})


def test_a_name_without_a_row_takes_the_place_of_one_that_was_only_counted(context: Context) -> None:
    """And a third report that names it again, or its row, counts it no second time."""
    case_id = counted(context, 1, not_sampled=3)
    for _ in range(2):
        counted(context, 0, named=["u7"], not_sampled=3)
        assert stands(context, case_id) == (4, 1, {"not_sampled": 2, "not_in_sources": 1})
    counted(context, 1, first=7, not_sampled=3)
    assert stands(context, case_id) == (4, 2, {"not_sampled": 2})


def test_another_row_does_not_take_the_place_of_a_name(context: Context) -> None:
    """They are two records: one of them would be lost."""
    case_id = counted(context, 0, named=["u8"])
    counted(context, 1)
    assert stands(context, case_id) == (2, 1, {"not_in_sources": 1})


def test_a_second_report_that_counts_more_adds_the_difference(context: Context) -> None:
    case_id = counted(context, 2, not_sampled=1)
    for _ in range(2):
        counted(context, 2, not_sampled=5)
        assert stands(context, case_id) == (7, 2, {"not_sampled": 5})
    counted(context, 3, first=2, named=["u9"])
    assert stands(context, case_id) == (7, 5, {"not_sampled": 1, "not_in_sources": 1})


def test_a_second_report_of_other_names_than_the_first_counts_every_name(context: Context) -> None:
    """More names than were counted are more records."""
    case_id = counted(context, 2, not_sampled=1)
    counted(context, 3, first=2, named=["u9"])
    assert stands(context, case_id) == (6, 5, {"not_in_sources": 1})


def test_a_telling_that_comes_while_another_is_taken_in_is_told_again(context: Context) -> None:
    """Two workers, two events about one failure: what only the later of them names would be lost."""

    def told_by_both() -> Iterator[pl.DataFrame]:
        counted(context, 2)
        yield some_usage(1, first=2)

    failure = a_failure(code="meter_event_customer_not_found")
    with pytest.raises(Conflict):
        take_in_seen(context, Seen(failure, told_by_both(), DATA, EVENT, Unlocated()))
    assert stands(context, counted(context, 1, first=2)) == (3, 3, {})


def test_a_whole_file_that_is_found_later_comes_in_whole(context: Context) -> None:
    failure = a_failure(kind=UNEXPLAINED_FILE, code=None)
    case_id = take_in_seen(context, Seen(failure, [], DATA, EVENT, Unlocated({"file_not_found": 1})))
    found = a_failure(kind=WHOLE_FILE, code=None)
    take_in_seen(context, Seen(found, [some_usage(3), some_usage(2, first=3)], DATA, EVENT, Unlocated()))
    case = context.ledger.cases.get(case_id)
    assert case is not None
    assert (case.failure.kind, case.balance.failed.records) == (WHOLE_FILE, 5)
    assert (case.balance[Bucket.PENDING].records, case.balance[Bucket.QUARANTINED].records) == (5, 0)
    assert case.balance.failed.quantity == Decimal(0)
    assert holds(context, case_id)


@pytest.mark.parametrize("kind", [WHOLE_FILE, UNEXPLAINED_FILE, FAILED_RECORDS])
def test_a_file_that_was_changed_since_it_was_refused_brings_no_further_rows(context: Context, kind: str) -> None:
    """Its rows without identifiers get others than they got before: all of them would be billed once more."""
    failure = a_failure(kind=kind, code=None)

    def tell(rows: pl.DataFrame, **missing: int) -> str:
        return take_in_seen(context, Seen(failure, [rows], DATA, EVENT, Unlocated(missing)))

    case_id = tell(some_usage(3), rows_not_listed=1)
    tell(some_usage(4))
    with pytest.raises(Permanent, match="is not what it was"):
        tell(some_usage(4, first=4))
    assert stands(context, case_id) == (4, 4, {})


def test_a_retry_of_a_case_looks_again_for_rows_that_were_only_counted(context: Context) -> None:
    case_id = counted(context, 1, not_in_sources=2)
    context.ledger.events.claim(EVENT, "worker", context.lease)
    context.ledger.events.finish(EVENT, "worker", EventState.DONE)
    assert retry_case(context, case_id).events == (EVENT,)
    assert [event_id for event_id, *_ in jobs(context).events] == [EVENT]
