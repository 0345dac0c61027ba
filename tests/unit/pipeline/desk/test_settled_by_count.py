"""Records settled while Stripe only counted them. If these fail, a file that is found later bills them again."""

from pathlib import Path

import pytest

from tests.books import EVENT, Book, a_context, some_usage
from tests.builders import a_failure
from tests.conftest import FrozenClock
from workers.kernel.errors import Permanent
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.context import Context
from workers.pipeline.desk import desk
from workers.pipeline.intake.open_case import Seen, take_in_seen
from workers.pipeline.intake.unlocated import Unlocated
from workers.pipeline.record_sets import DATA


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


@pytest.fixture
def book(context: Context) -> Book:
    """A case of three records that Stripe counts, and whose file was not found."""
    take_in_seen(context, Seen(a_failure(), [], DATA, EVENT, Unlocated({"file_not_found": 3})))
    return Book(context, 0)


@pytest.fixture
def billed_otherwise(context: Context, book: Book) -> Act:
    arguments = {"case_id": book.case_id, "reference": "invoice 7"}
    act, _ = desk.ask(context, "corrected", book.case_id, arguments, actor="Ada", why="billed by hand")
    return desk.approve(context, act, "Ada")


def told_with_rows(context: Context) -> None:
    """Stripe's event is read again, and now the file is there."""
    take_in_seen(context, Seen(a_failure(), [some_usage(3)], DATA, EVENT, Unlocated()))


@pytest.mark.usefixtures("billed_otherwise")
def test_rows_of_what_was_billed_otherwise_are_not_taken_for_new_ones(context: Context, book: Book) -> None:
    with pytest.raises(Permanent, match="somebody has settled 3 of its records"):
        told_with_rows(context)
    case = context.ledger.cases.get(book.case_id)
    assert case is not None
    assert (case.balance.failed.records, book.balance(Bucket.PENDING)) == (3, 0)


def test_they_take_the_place_of_the_count_once_that_is_taken_back(
    context: Context, book: Book, billed_otherwise: Act
) -> None:
    desk.take_back(context, billed_otherwise, "Ada")
    told_with_rows(context)
    assert (book.balance(Bucket.PENDING), book.balance(Bucket.QUARANTINED)) == (3, 0)
