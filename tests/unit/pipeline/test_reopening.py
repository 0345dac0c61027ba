"""If these fail, mended usage stays unbilled, or usage that may be billed already is sent again unasked."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.books import EVENT, Book, a_context, some_usage
from tests.builders import a_failure
from tests.conftest import FrozenClock
from workers.kernel.errors import InputUnusable
from workers.kernel.jobqueue import RecordingJobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState, Receipt
from workers.kernel.ledger.movements import Bucket, EntryKind
from workers.pipeline.book import DATA, RECORD, records_in
from workers.pipeline.context import Context
from workers.pipeline.failures import UNEXPLAINED_FILE, WHOLE_FILE
from workers.pipeline.proving import prove
from workers.pipeline.reopening import UNCERTAIN, retry_case, retry_event
from workers.pipeline.seen import Unlocated, take_in_seen
from workers.records.schema import IDENTIFIER, REASON


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    sqlite_ledger.events.record(Receipt(EVENT, "thin", "v1.billing.meter.error_report_triggered", False, b"{}"))
    return a_context(sqlite_ledger, tmp_path, clock)


def jobs(context: Context) -> RecordingJobQueue:
    assert isinstance(context.queue, RecordingJobQueue)
    return context.queue


def holds(context: Context, case_id: str) -> bool:
    return next(prove(context.ledger, context.archive, case_id)).breach is None


def identifiers(context: Context, case_id: str, bucket: Bucket) -> list[str]:
    records = records_in(context, case_id, bucket)
    return [] if records is None else records.select(IDENTIFIER).collect().to_series().to_list()


def test_quarantined_records_are_planned_anew(context: Context) -> None:
    book = Book(context, 3)
    book.move(EntryKind.QUARANTINED, [0, 1], reason="ambiguous_value")
    retried = retry_case(context, book.case_id)
    assert (retried.reopened, retried.kept_back) == (2, {})
    assert book.balance(Bucket.PENDING) == 3
    assert [case_id for case_id, *_ in jobs(context).cases] == [book.case_id]
    pending = records_in(context, book.case_id, Bucket.PENDING)
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
        transaction.stumble("given up: the bucket is gone", None)
    retry_case(context, book.case_id)
    case = context.ledger.cases.get(book.case_id)
    assert case is not None
    assert (case.trouble, case.due_at) == (None, context.clock())


def test_an_ended_event_is_taken_up_again_and_one_in_work_is_not(context: Context) -> None:
    with pytest.raises(InputUnusable, match="it is received already"):
        retry_event(context, EVENT)
    context.ledger.events.claim(EVENT, "worker", context.lease)
    context.ledger.events.finish(EVENT, "worker", EventState.FAILED, "no key")
    retry_event(context, EVENT)
    assert [event_id for event_id, *_ in jobs(context).events] == [EVENT]


@pytest.mark.parametrize("subject", ["evt_nobody", "case_nobody"])
def test_an_unknown_id_is_one_clear_error(context: Context, subject: str) -> None:
    with pytest.raises(InputUnusable, match=f"{subject}: there is no such event or case"):
        (retry_case if subject.startswith("case") else retry_event)(context, subject)


def counted(context: Context, found: int, **missing: int) -> str:
    """Take the failure in: the first `found` rows, and a number of others by reason."""
    return take_in_seen(
        context,
        a_failure(code="meter_event_customer_not_found"),
        [some_usage(found)],
        refused_as=DATA,
        event_id=EVENT,
        unlocated=Unlocated(missing, dict.fromkeys(missing, "Name your sources.")),
    )


def test_rows_that_are_found_later_take_the_place_of_those_that_were_counted(context: Context) -> None:
    case_id = counted(context, 2, not_sampled=4, not_in_sources=3)
    assert counted(context, 4, not_sampled=4, not_in_sources=1) == case_id
    case = context.ledger.cases.get(case_id)
    assert case is not None
    assert case.balance.failed.records == 9
    assert (case.balance[Bucket.PENDING].records, case.balance[Bucket.QUARANTINED].records) == (4, 5)
    pending = records_in(context, case_id, Bucket.PENDING)
    assert pending is not None
    assert pending.select(IDENTIFIER, RECORD).collect().rows() == [("u0", 0), ("u1", 1), ("u2", 2), ("u3", 3)]
    assert holds(context, case_id)
    assert counted(context, 4, not_sampled=4, not_in_sources=1) == case_id
    assert context.ledger.cases.get(case_id) == case


def test_rows_that_a_second_report_names_are_taken_in_once(context: Context) -> None:
    case_id = counted(context, 2, not_sampled=4)
    for _ in range(2):
        counted(context, 3, not_sampled=4)
    case = context.ledger.cases.get(case_id)
    assert case is not None
    assert (case.version, case.balance.failed.records) == (4, 7)
    assert holds(context, case_id)


def test_a_whole_file_that_is_found_later_comes_in_whole(context: Context) -> None:
    failure = a_failure(kind=UNEXPLAINED_FILE, code=None)
    take = {"refused_as": DATA, "event_id": EVENT}
    unlocated = Unlocated({"file_not_found": 1})
    case_id = take_in_seen(context, failure, [], unlocated=unlocated, **take)  # type: ignore[arg-type]
    found = a_failure(kind=WHOLE_FILE, code=None)
    take_in_seen(context, found, [some_usage(3), some_usage(2, first=3)], unlocated=Unlocated(), **take)  # type: ignore[arg-type]
    case = context.ledger.cases.get(case_id)
    assert case is not None
    assert (case.failure.kind, case.balance.failed.records) == (WHOLE_FILE, 5)
    assert (case.balance[Bucket.PENDING].records, case.balance[Bucket.QUARANTINED].records) == (5, 0)
    assert case.balance.failed.quantity == Decimal(0)
    assert holds(context, case_id)


def test_a_retry_of_a_case_looks_again_for_rows_that_were_only_counted(context: Context) -> None:
    case_id = counted(context, 1, not_in_sources=2)
    context.ledger.events.claim(EVENT, "worker", context.lease)
    context.ledger.events.finish(EVENT, "worker", EventState.DONE)
    assert retry_case(context, case_id).events == (EVENT,)
    assert [event_id for event_id, *_ in jobs(context).events] == [EVENT]
