"""If these fail, usage that never reached Stripe is booked as recovered, or what arrived is waited for for ever."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from tests.unit.pipeline.totals.play import METER
from workers.kernel.errors import Permanent
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.unconfirmed import unconfirmed, unconfirmed_records
from workers.pipeline.context import Context
from workers.pipeline.lookups import meters_of
from workers.pipeline.notify.case_status import status_of
from workers.pipeline.submit.arrival import totals_before
from workers.pipeline.submit.confirm import BY_SILENCE, BY_SUMMARIES, confirm, due_for_confirmation
from workers.records.catalog import Catalog
from workers.stripe_api import Summary

DAY = datetime.fromtimestamp(1_795_253_400, UTC).replace(hour=0, minute=0, second=0)
"""Of `some_usage`, of which records 0 and 1 are 2.0 together."""


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    context = a_context(sqlite_ledger, tmp_path, clock)
    _stripe(context).meters = [METER]
    return context


def _stripe(context: Context) -> RecordingStripeApi:
    assert isinstance(context.stripe, RecordingStripeApi)
    return context.stripe


def stripe_counts(context: Context, value: str) -> None:
    """Let Stripe's total of the day be this."""
    _stripe(context).summaries["mtr_1", "cus_1"] = [Summary(DAY, DAY + timedelta(days=1), Decimal(value))]


def sent(context: Context, book: Book, records: list[int]) -> str:
    """Send records as one submission, after Stripe's totals were read."""
    totals = totals_before(context, None, Catalog(meters=meters_of(context, None)), book.keep(records))
    return book.send(records, totals=totals)


def look(context: Context, book: Book) -> None:
    """Let time pass until the next look is due, and look."""
    [submission] = context.ledger.submissions.of_case(book.case_id)
    assert submission.confirm_at is not None
    clock = context.clock
    assert isinstance(clock, FrozenClock)
    clock.turn(seconds=(submission.confirm_at - clock()).total_seconds())
    with book.held() as held:
        assert due_for_confirmation(context, held)
        confirm(context, held)


def confirmed(context: Context, book: Book) -> list[dict[str, Any]]:
    """What the entries of confirmation say."""
    journal = context.ledger.queries.entries(book.case_id)
    return [dict(entry.detail) for entry in journal if entry.kind == EntryKind.CONFIRMED]


def test_totals_that_grew_by_what_was_sent_confirm_it(context: Context) -> None:
    book = Book(context, 2)
    stripe_counts(context, "10")
    sent(context, book, [0, 1])
    stripe_counts(context, "12")
    look(context, book)
    [told] = confirmed(context, book)
    assert (told["by"], told["at_least"]) == (BY_SUMMARIES, False)
    assert [(day["before"], day["now"], day["sent"]) for day in told["proof"]] == [("10", "12", "2")]


def test_more_growth_than_was_sent_is_said_to_be_weaker(context: Context) -> None:
    book = Book(context, 2)
    sent(context, book, [0, 1])
    stripe_counts(context, "7")
    look(context, book)
    assert [told["at_least"] for told in confirmed(context, book)] == [True]


def test_what_does_not_show_is_unconfirmed_from_the_deadline_on_and_said_once(context: Context) -> None:
    book = Book(context, 2)
    sent(context, book, [0, 1])
    stripe_counts(context, "1.9")
    start = context.clock()
    looks = []
    while context.clock() < start + timedelta(hours=13):
        look(context, book)
        looks.append((context.clock() - start, unconfirmed(context.ledger.queries.entries(book.case_id))))
    assert [hours.total_seconds() / 3600 for hours, _ in looks] == [0.5, 1, 2, 4, 6, 12, 24]
    assert [records for _, records in looks] == [0, 0, 0, 0, 2, 2, 2]
    assert unconfirmed_records(context.ledger.database) == 2, "as /metrics shows it"
    assert book.balance(Bucket.SUBMITTED) == 2
    with book.held() as held:
        assert "unconfirmed" in status_of(context, held).demands
    journal = context.ledger.queries.entries(book.case_id)
    assert sum("unconfirmed" in entry.detail for entry in journal) == 1

    stripe_counts(context, "2")
    look(context, book)
    assert book.balance(Bucket.CONFIRMED) == 2
    assert unconfirmed(context.ledger.queries.entries(book.case_id)) == 0
    assert unconfirmed_records(context.ledger.database) == 0


def test_what_never_shows_is_put_before_a_person_in_the_end(context: Context) -> None:
    book = Book(context, 2)
    sent(context, book, [0, 1])
    for _ in range(50):
        if not book.balance(Bucket.SUBMITTED):
            break
        look(context, book)
    assert book.balance(Bucket.QUARANTINED) == 2


def test_one_growth_does_not_confirm_two_submissions_of_a_day(context: Context) -> None:
    one, other = Book(context, 2), Book(context, 2, key="another")
    sent(context, one, [0, 1])
    sent(context, other, [0, 1])
    stripe_counts(context, "2")
    look(context, one)
    look(context, other)
    assert confirmed(context, one) == confirmed(context, other) == []
    stripe_counts(context, "4")
    look(context, one)
    look(context, other)
    assert [told["by"] for told in confirmed(context, one) + confirmed(context, other)] == [BY_SUMMARIES] * 2


def test_what_another_submission_brought_before_the_baseline_counts_for_that_one(context: Context) -> None:
    one, other = Book(context, 2), Book(context, 2, key="another")
    sent(context, one, [0, 1])
    stripe_counts(context, "2")
    sent(context, other, [0, 1])
    look(context, other)
    assert confirmed(context, other) == []
    stripe_counts(context, "4")
    look(context, other)
    assert [told["by"] for told in confirmed(context, other)] == [BY_SUMMARIES]


@contextmanager
def _silent(context: Context) -> Iterator[Book]:
    book = Book(context, 2)
    yield book
    look(context, book)
    assert [told["by"] for told in confirmed(context, book)] == [BY_SILENCE]


def test_where_the_key_may_not_read_totals_silence_is_the_proof(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any) -> Any:
        raise Permanent("Stripe answered 403")

    with _silent(context) as book:
        monkeypatch.setattr(_stripe(context), "event_summaries", forbidden)
        sent(context, book, [0, 1])


def test_a_meter_whose_total_does_not_add_up_is_left_to_silence(context: Context) -> None:
    with _silent(context) as book:
        _stripe(context).meters = [{**METER, "default_aggregation": {"formula": "last"}}]
        sent(context, book, [0, 1])


def test_totals_that_stripe_does_not_tell_at_the_look_confirm_nothing(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any) -> Any:
        raise Permanent("Stripe answered 403")

    book = Book(context, 2)
    sent(context, book, [0, 1])
    monkeypatch.setattr(_stripe(context), "event_summaries", forbidden)
    look(context, book)
    assert book.balance(Bucket.SUBMITTED) == 2
