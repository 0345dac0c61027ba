"""What waits, by its cause. If these fail, a person mends a small cause and never sees the one that costs most."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from tests.books import Book, a_context
from tests.builders import a_failure, a_movement
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import VALIDATION_REPORT
from workers.kernel.ledger.case_facts import LONGEST_NAME
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.standings import Cause, CauseFilter, Group
from workers.pipeline.case_facts import facts_of
from workers.pipeline.context import Context
from workers.pipeline.record_sets import COUNTED_AS
from workers.pipeline.standings import MOST_CAUSES
from workers.records.schema import CUSTOMER

UNKNOWN = "customer_unknown"
ANY = CauseFilter()


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


def keep_facts(book: Book) -> None:
    """Keep what lists show of a case, as a worker does at the end of its turn."""
    with book.held() as held:
        known = facts_of(book.context, held)
        with held.transaction() as transaction:
            transaction.know(*known)


def waiting(context: Context, name: str, customers: Sequence[str], reason: str = UNKNOWN) -> Book:
    """A case of which a record of each customer waits."""
    book = Book(context, len(customers), key=name)
    book.frame = book.frame.with_columns(pl.Series(CUSTOMER, customers))
    book.move(EntryKind.QUARANTINED, range(len(customers)), reason=reason)
    keep_facts(book)
    return book


def groups(context: Context, wanted: CauseFilter = ANY) -> Sequence[Group]:
    return context.ledger.standings.groups(wanted, 1_000)


def of(group: Group) -> tuple[str, str, str, int, str]:
    return group.cause.reason, group.cause.meter, group.cause.customer, group.tally.records, group.tally.shown


def test_records_of_one_cause_are_one_group_whatever_case_they_are_in(context: Context) -> None:
    first = waiting(context, "a", ["acme", "acme", "other"])
    second = waiting(context, "b", ["acme"])
    waiting(context, "c", ["acme"], reason="ambiguous")
    found = groups(context)
    assert list(map(of, found)) == [
        (UNKNOWN, "api_calls", "acme", 3, "2.5"),
        ("ambiguous", "api_calls", "acme", 1, "0.5"),
        (UNKNOWN, "api_calls", "other", 1, "2.5"),
    ]
    assert found[0].cases == 2
    assert [(share.case_id, share.records) for share in found[0].largest] == [
        (first.case_id, 2),
        (second.case_id, 1),
    ]
    assert context.ledger.standings.count(ANY) == (3, 5)
    assert list(map(of, groups(context, CauseFilter(customer="other")))) == [of(found[2])]


def test_what_was_written_off_waits_in_no_group_any_more(context: Context) -> None:
    book = waiting(context, "a", ["acme", "other"])
    book.move(EntryKind.WRITTEN_OFF, [0], reason=UNKNOWN)
    keep_facts(book)
    assert [of(group)[2:4] for group in groups(context)] == [("other", 1)]
    by_code = context.ledger.standings.by_code(context.clock())
    assert by_code == {"malformed_record": {Bucket.QUARANTINED: 1, Bucket.WRITTEN_OFF: 1}}


def test_a_million_customers_are_no_million_groups_and_no_record_is_left_out(context: Context) -> None:
    customers = ["largest"] * 3 + [f"customer {n}" for n in range(MOST_CAUSES + 20)]
    waiting(context, "a", customers)
    found = groups(context)
    assert len(found) == MOST_CAUSES + 1
    assert sum(group.tally.records for group in found) == len(customers)
    assert {group.cause.customer: group.tally.records for group in found}["largest"] == 3
    assert {group.cause.customer: group.tally.records for group in found}[""] == 21


def test_names_that_no_database_takes_are_kept_as_far_as_it_does(context: Context) -> None:
    waiting(context, "a", ["a\0b", "x" * 300, "x" * 400])
    assert {group.cause.customer: group.tally.records for group in groups(context)} == {
        "ab": 1,
        "x" * LONGEST_NAME: 2,
    }


def test_codes_that_no_index_takes_are_kept_as_far_as_it_does(context: Context) -> None:
    """What is too long for PostgreSQL's index would keep the worker from committing, for ever."""
    book = Book(context, 3)
    long, longer = "c" * 5_000, "c" * 6_000
    book.frame = book.frame.with_columns(pl.Series(COUNTED_AS, [long, longer, "a\0b"]))
    book.move(EntryKind.QUARANTINED, range(3), reason=UNKNOWN)
    book.move(EntryKind.WRITTEN_OFF, range(3), reason=UNKNOWN)
    keep_facts(book)
    by_code = context.ledger.standings.by_code(context.clock())
    assert by_code == {"c" * LONGEST_NAME: {Bucket.WRITTEN_OFF: 2}, "ab": {Bucket.WRITTEN_OFF: 1}}


def test_records_that_stripe_only_counts_are_a_group_of_their_own(context: Context) -> None:
    about = a_failure(kind=VALIDATION_REPORT, code="no_meter", event_name="tokens")
    book = Book(context, 0, **{name: getattr(about, name) for name in ("kind", "code", "event_name")})
    counted = {"detail": {"reasons": {"not_in_sources": 7}}}
    with book.held() as held, held.transaction() as transaction:
        seen = a_movement(EntryKind.SEEN, 7, "0", **counted)
        transaction.move(seen, a_movement(EntryKind.QUARANTINED, 7, "0", **counted))
    keep_facts(book)
    [group] = groups(context)
    assert (group.cause, group.tally.records) == (Cause("no_meter", "not_in_sources", "tokens"), 7)
