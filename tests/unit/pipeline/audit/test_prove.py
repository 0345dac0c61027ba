"""If these fail, `metermend prove` says that nothing was lost or doubled when something was."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.hash_chain import entry_hash, genesis
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement
from workers.kernel.ledger.tables import cases, entries, submissions
from workers.pipeline.audit import record_trail
from workers.pipeline.audit.prove import CaseProof, prove
from workers.pipeline.context import Context


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


def a_whole_life(context: Context) -> Book:
    """Six records: two confirmed, one refused again and quarantined, two quarantined, one deferred."""
    book = Book(context)
    book.move(EntryKind.QUARANTINED, [3, 4])
    book.move(EntryKind.DEFERRED, [5])
    submission = book.send([0, 1, 2])
    book.move(EntryKind.REFUSED, [2], submission_id=submission)
    book.move(EntryKind.QUARANTINED, [2])
    book.confirm([0, 1], submission)
    return book


def proof_of(context: Context, book: Book) -> CaseProof:
    return next(prove(context.ledger, context.archive, book.case_id))


def breach_of(context: Context, book: Book) -> str:
    breach = proof_of(context, book).breach
    assert breach is not None, "the tampering went unnoticed"
    return f"{breach.entry}: {breach.what}"


def test_a_true_book_is_proved_with_its_records(context: Context) -> None:
    book = a_whole_life(context)
    proof = proof_of(context, book)
    assert proof.breach is None
    assert (proof.balance.failed.records, proof.balance[Bucket.CONFIRMED].records) == (6, 2)
    assert (proof.entries, proof.record_sets) == (9, 9)


def test_a_case_is_proved_in_batches_like_in_one(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_trail, "BATCH", 2)
    assert proof_of(context, a_whole_life(context)).breach is None


def test_records_that_nobody_has_shown_count_without_rows(context: Context) -> None:
    book = Book(context, 2)
    with book.held() as held, held.transaction() as transaction:
        transaction.move(Movement(EntryKind.SEEN, None, Bucket.PENDING, 3, Decimal(0)))
        transaction.move(Movement(EntryKind.QUARANTINED, Bucket.PENDING, Bucket.QUARANTINED, 3, Decimal(0)))
    assert proof_of(context, book).breach is None


def test_rows_that_are_found_later_take_the_place_of_counted_ones(context: Context) -> None:
    book = Book(context, 2)
    with book.held() as held, held.transaction() as transaction:
        transaction.move(Movement(EntryKind.SEEN, None, Bucket.PENDING, 3, Decimal(0)))
        transaction.move(Movement(EntryKind.QUARANTINED, Bucket.PENDING, Bucket.QUARANTINED, 3, Decimal(0)))
    book.frame = pl.concat([book.frame, Book(context, 0, key="other").frame])
    found = book.frame.with_columns(pl.col("@record") + 2, pl.lit(None, pl.String).alias("@quantity"))
    book.frame = pl.concat([book.frame, found])
    book.move(EntryKind.LOCATED, [2, 3])
    assert proof_of(context, book).breach is None
    assert (book.balance(Bucket.QUARANTINED), book.balance(Bucket.PENDING)) == (1, 4)


def test_a_case_that_does_not_exist_is_one_clear_error(context: Context) -> None:
    with pytest.raises(InputUnusable, match="case_x: there is no such case"):
        list(prove(context.ledger, context.archive, "case_x"))


Tamper = Callable[[Context, Book], None]


def change(context: Context, table: sa.Table, where: sa.ColumnElement[bool], **values: object) -> None:
    with context.ledger.database.write() as connection:
        connection.execute(sa.update(table).where(where).values(**values))


def alter_an_entry(context: Context, book: Book) -> None:
    change(context, entries, entries.c.number == 4, actor="somebody")


def remove_the_last_entry(context: Context, book: Book) -> None:
    with context.ledger.database.write() as connection:
        connection.execute(sa.delete(entries).where(entries.c.number == 9))


def forge_a_whole_chain(context: Context, book: Book) -> None:
    """Let two quarantined records be confirmed, and compute every hash anew."""
    rows = [dict(row) for row in context.ledger.queries.chained_entries(book.case_id)]
    case = context.ledger.cases.get(book.case_id)
    assert case is not None
    previous = genesis(case.failure.key)
    for row in rows:
        if row["number"] == 2:
            row["records"] = 1
        row["previous"] = previous
        previous = row["hash"] = entry_hash(row)
        here = sa.and_(entries.c.case_id == book.case_id, entries.c.number == row["number"])
        change(context, entries, here, **{k: row[k] for k in ("records", "previous", "hash")})
    change(context, cases, cases.c.id == book.case_id, head=previous)


def change_the_balance(context: Context, book: Book) -> None:
    case = context.ledger.cases.get(book.case_id)
    assert case is not None
    balance = case.balance.to_json()
    balance["confirmed"]["records"] += 1
    balance["failed"]["records"] += 1
    change(context, cases, cases.c.id == book.case_id, balance=balance)


def change_the_state(context: Context, book: Book) -> None:
    change(context, cases, cases.c.id == book.case_id, state="settled")


def change_a_submission(context: Context, book: Book) -> None:
    change(context, submissions, submissions.c.case_id == book.case_id, records=2)


def forget_the_answer(context: Context, book: Book) -> None:
    change(context, submissions, submissions.c.case_id == book.case_id, state="intended")


def settle_too_early(context: Context, book: Book) -> None:
    book.move(EntryKind.REOPENED, [3, 4], route=1)
    submission = book.send([3, 4], ordinal=2)
    change(context, submissions, submissions.c.id == submission, state="settled")


def first_set(context: Context, book: Book) -> Path:
    name = context.ledger.queries.entries(book.case_id)[0].record_set
    return Path(context.settings.archive_url) / str(name)


def alter_a_record_set(context: Context, book: Book) -> None:
    path = first_set(context, book)
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def delete_a_record_set(context: Context, book: Book) -> None:
    first_set(context, book).unlink()


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (alter_an_entry, "4: entry 4 was altered"),
        (remove_the_last_entry, "8: entries after 8 are missing"),
        (forge_a_whole_chain, "9: the case's balance is not what its entries add up to"),
        (change_the_balance, "9: the case's balance is not"),
        (change_the_state, "9: the case is settled, but its journal says needs_person"),
        (change_a_submission, "is not what the entry says was to be sent"),
        (forget_the_answer, "is intended, but has 1 entries of an answer"),
        (settle_too_early, "is settled, but 2 of its records are still submitted"),
        (alter_a_record_set, "1: .* has the digest"),
        (delete_a_record_set, "1: .* does not exist"),
    ],
)
def test_the_first_thing_that_does_not_hold_is_named(context: Context, tamper: Tamper, said: str) -> None:
    book = a_whole_life(context)
    tamper(context, book)
    assert re.search(said, breach_of(context, book))


def move_a_record_that_stands_elsewhere(book: Book) -> None:
    book.move(EntryKind.QUARANTINED, [0])  # the first one stands in `planned`, yet the counts fit


def find_a_record_twice(book: Book) -> None:
    book.move(EntryKind.SEEN, [0])


def move_one_record_as_two(book: Book) -> None:
    book.frame = pl.concat([book.frame, book.frame.filter(pl.col("@record") == 1)])
    book.move(EntryKind.QUARANTINED, [1])


def invent_a_record(book: Book) -> None:
    book.frame = book.frame.with_columns(pl.col("@record") + 100)
    book.move(EntryKind.QUARANTINED, [101])


def change_a_quantity_on_the_way(book: Book) -> None:
    book.frame = book.frame.with_columns(pl.lit("0").alias("@quantity"))
    book.move(EntryKind.QUARANTINED, [1, 2])


@pytest.mark.parametrize(
    ("misstep", "said"),
    [
        (move_a_record_that_stands_elsewhere, "3: record 0 did not stand in pending, but in planned"),
        (find_a_record_twice, "3: record 0 did not stand in no bucket, but in planned"),
        (move_one_record_as_two, "3: its record set has a record twice"),
        (invent_a_record, "3: its record set has the record number 101, which was never given out"),
        (change_a_quantity_on_the_way, "None: pending holds 0 records of 4, its record sets 0 records of 0"),
    ],
)
def test_a_book_whose_sums_are_right_is_still_checked_record_by_record(
    context: Context, misstep: Callable[[Book], None], said: str
) -> None:
    book = Book(context, 3)
    book.move(EntryKind.PLANNED, [0])
    misstep(book)
    assert breach_of(context, book) == said


def test_an_entry_that_counts_otherwise_than_its_record_set_is_named(context: Context) -> None:
    book = Book(context, 3)
    ref = book.keep([0, 1])
    with book.held() as held, held.transaction() as transaction:
        move = Movement(
            EntryKind.QUARANTINED, Bucket.PENDING, Bucket.QUARANTINED, 1, Decimal("0.5"), record_set=ref
        )
        transaction.move(move)
    assert breach_of(context, book) == "2: it counts 1 records of 0.5, its record set 2 records of 2"


def test_a_case_without_its_record_sets_is_proved_by_its_entries(context: Context, clock: FrozenClock) -> None:
    book = a_whole_life(context)
    with book.held() as held, held.transaction() as transaction:
        transaction.move(Movement(EntryKind.REMOVED, None, None, 0, Decimal(0)))
    delete_a_record_set(context, book)
    proof = proof_of(context, book)
    assert proof.breach is None
    assert proof.removed_at == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    alter_an_entry(context, book)
    assert breach_of(context, book) == "4: entry 4 was altered"


def test_all_cases_are_proved_when_none_is_named(context: Context) -> None:
    a_whole_life(context)
    Book(context, 2, key="another")
    proofs = list(prove(context.ledger, context.archive))
    assert [proof.breach for proof in proofs] == [None, None]
    assert sum(proof.balance.failed.records for proof in proofs) == 8
