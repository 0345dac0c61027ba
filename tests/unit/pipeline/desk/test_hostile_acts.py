"""Acts that ask for nonsense. If these fail, one form that a person has sent stops every case of the service."""

from pathlib import Path

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.context import Context
from workers.pipeline.desk import desk
from workers.pipeline.desk.edited_csv import Edits, is_reformatted, read_edits


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


@pytest.fixture
def book(context: Context) -> Book:
    """A case of which two records wait for a person."""
    book = Book(context, 2)
    book.move(EntryKind.QUARANTINED, [0, 1], reason="no_identifier")
    return book


@pytest.mark.parametrize("exponent", ["9" * 7, "9" * 30])
def test_a_number_that_nothing_can_reckon_with_is_an_edit_like_any_other(exponent: str) -> None:
    assert not is_reformatted("5", f"1E{exponent}")


def test_a_key_of_more_digits_than_any_record_has_names_no_record(context: Context, book: Book) -> None:
    arguments = {"case_id": book.case_id, "record": "r" + "9" * 60, "field": "payload_value", "value": "1"}
    act = context.ledger.acts.ask("set_value", book.case_id, arguments, "Ada", "a slip")
    assert desk.settle(context, act.id) is None
    assert "no such record waits" in (context.ledger.acts.get(act.id).outcome or {})["error"]


def test_an_act_that_breaks_in_a_way_nobody_expected_keeps_no_other_from_being_done(
    context: Context, book: Book
) -> None:
    """The sweep that carries on with acts is the one that carries on with cases."""
    asked = context.ledger.acts.ask
    good = asked("write_off", book.case_id, {"case_id": book.case_id}, "Ada", "agreed")
    broken = asked("set_value", book.case_id, {"nothing": "that it knows"}, "Ada", "agreed")
    assert desk.carry_on_open(context) == 2
    states = [context.ledger.acts.get(one.id).state for one in (good, broken)]
    assert (states, book.balance(Bucket.QUARANTINED)) == ([ActState.SHOWN, ActState.REFUSED], 2)


def edited(book: Book, path: Path, text: str) -> Edits:
    path.write_text(text)
    return read_edits(book.context, book.case_id, path)


def test_a_payload_column_that_a_person_adds_is_an_edit(book: Book, tmp_path: Path) -> None:
    edits = edited(book, tmp_path / "in.csv", "record,payload_region\nr0,eu\nr1,\n")
    assert edits.cells.rows() == [(0, "payload_region", None, "eu")]


def test_a_file_of_more_columns_than_any_record_has_is_none(book: Book, tmp_path: Path) -> None:
    """Each costs a worker milliseconds, and 8 MiB name half a million."""
    header = ",".join(f"payload_{n}" for n in range(200))
    with pytest.raises(InputUnusable, match="no record has so many columns"):
        edited(book, tmp_path / "in.csv", f"record,{header}\nr0{',1' * 200}\n")
