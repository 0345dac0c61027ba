"""What a case is shown by. If these fail, a person decides about records of which he was shown others."""

from pathlib import Path

import polars as pl
import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.examples import LONGEST, MOST, SAMPLES, Change, Examples, Sample, keep_examples
from workers.kernel.ledger.journal import EntryKind
from workers.pipeline.upkeep.retention import retain
from workers.records.schema import CHANGES

MENDED = '[{"column": "payload_value", "before": "1,5", "after": "%s", "remedy": "invalid_value.thousands"}]'


@pytest.fixture
def book(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Book:
    return Book(a_context(sqlite_ledger, tmp_path, clock), 30)


def examples(book: Book) -> Examples:
    return book.context.ledger.examples.of(book.case_id)


def plan(book: Book, records: range, after: str) -> None:
    book.frame = book.frame.with_columns(pl.lit(MENDED % after).alias(CHANGES))
    book.move(EntryKind.PLANNED, records)


def test_a_case_keeps_two_refused_records_of_a_code_with_stripes_own_words(book: Book) -> None:
    kept = examples(book)
    assert [(one.record, one.identifier, one.message, one.file, one.row) for one in kept.samples] == [
        (0, "u0", "refused", "usage.csv", 1), (1, "u1", "refused", "usage.csv", 2),
    ]  # fmt: skip
    assert kept.samples[0].columns["payload_value"] == "0.5"


def test_it_keeps_twenty_repairs_and_of_a_record_that_was_planned_anew_the_last(book: Book) -> None:
    plan(book, range(25), "15")
    assert [one.record for one in examples(book).changes] == list(range(MOST))
    book.move(EntryKind.QUARANTINED, range(25), route=1)
    book.move(EntryKind.REOPENED, range(25), route=1)
    plan(book, range(25), "1.5")
    kept = examples(book).changes
    assert {(one.before, one.after, one.how) for one in kept} == {("1,5", "1.5", "thousands")}
    assert len(kept) == MOST


def test_codes_take_turns_texts_are_cut_and_what_stripe_names_goes_first(book: Book) -> None:
    def sample(code: str, record: int, message: str | None) -> Sample:
        return Sample(code, record, None, None, None, message, {"timestamp": "9\0" * LONGEST})

    def change(code: str, record: int) -> Change:
        return Change(code, record, None, "timestamp", None, "1", f"{code}.how")

    few = [sample("a", n, None) for n in range(9)] + [sample("a", 9, "named"), sample("b", 10, None)]
    many = [change("a", n) for n in range(50)] + [change("b", 50)]
    with book.context.ledger.database.write() as connection:
        keep_examples(connection, book.case_id, Examples(few, many))
    kept = examples(book)
    assert [one.record for one in kept.samples if one.code == "a"] == [9, 0]
    assert len([one for one in kept.samples if one.code == "b"]) == 1
    assert all(len(one.columns["timestamp"] or "") <= LONGEST for one in kept.samples)
    assert (len(kept.changes), kept.changes[1].code) == (MOST, "b")
    assert SAMPLES == 2


def test_what_is_shown_goes_with_the_files_of_the_case(book: Book, clock: FrozenClock) -> None:
    submission = book.send(range(30))
    book.confirm(range(30), submission)
    assert examples(book).samples
    clock.turn(days=401)
    assert retain(book.context).cases == 1
    assert examples(book) == Examples()
