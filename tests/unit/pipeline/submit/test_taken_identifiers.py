"""If these fail, "Stripe holds it, and not from us" is said of what we have sent: approved, it is billed twice."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.books import Book, a_context, records_of
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.context import Context
from workers.pipeline.record_sets import ORIGIN
from workers.pipeline.submit import submitted_index
from workers.pipeline.submit.outcomes import held_reasons
from workers.pipeline.upkeep.retry import retry_case
from workers.records.identifiers import revision_identifier
from workers.records.schema import IDENTIFIER, REASON

NAME = "order 7/ü"
"""The identifier that Stripe says it holds."""


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


def a_book(
    context: Context, key: str, name: str = NAME, *, count: int = 1, at: int = 0, account: str | None = None
) -> Book:
    """A case of its own, of which record `at` goes under that identifier."""
    book = Book(context, count, key=key, account=account)
    names = [name if number == at else f"{key}-{number}" for number in range(count)]
    book.frame = book.frame.with_columns(pl.Series(IDENTIFIER, names), pl.Series(ORIGIN, names))
    return book


def sent(context: Context, name: str = NAME, *, count: int = 1, at: int = 0, account: str | None = None) -> Book:
    """Let another case have sent it."""
    book = a_book(context, "earlier", name, count=count, at=at, account=account)
    book.send(range(count))
    return book


def reason_of(context: Context, book: Book, submission_id: str, name: str = NAME) -> str:
    """Let Stripe say of a submission that it holds that identifier; return why the record waits from then on."""
    submission = context.ledger.submissions.get(submission_id)
    case = context.ledger.cases.get(book.case_id)
    assert submission
    assert case
    [told] = held_reasons(context, case.failure.account, submission, pl.Series([name]))[REASON]
    book.move(EntryKind.HELD, [0], reason=told, submission_id=submission_id)
    return str(told)


def approved(context: Context, book: Book) -> list[str]:
    """Let somebody approve by name; return the identifiers that go out for it."""
    retry_case(context, book.case_id, approved_by="ada")
    planned = records_of(context, book.case_id, Bucket.PLANNED)
    assert planned is not None
    return planned.select(IDENTIFIER).collect().to_series().to_list()


def confirmed(context: Context) -> None:
    book = sent(context)
    book.confirm([0], f"{book.case_id}-1")


def refused_after_it_was_sent(context: Context) -> None:
    book = sent(context)
    book.move(EntryKind.REFUSED, [0], submission_id=f"{book.case_id}-1")


def taken_back(context: Context) -> None:
    book = sent(context)
    book.move(EntryKind.UNDONE, [0], submission_id=f"{book.case_id}-1")


def held_before(context: Context) -> None:
    book = sent(context)
    reason_of(context, book, f"{book.case_id}-1")


def long_ago(context: Context) -> None:
    sent(context)
    turn = context.clock
    assert isinstance(turn, FrozenClock)
    turn.turn(days=400)


def begun(context: Context) -> None:
    """Intended, and never answered: a worker died, or Stripe was away."""
    book = a_book(context, "earlier")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("workers.kernel.ledger.submissions.CaseSubmissions.sent", lambda *_: None)
        book.send([0])


def twice_by_others(context: Context) -> None:
    sent(context)
    a_book(context, "a third").send([0])


OURS: dict[str, Callable[[Context], object]] = {
    "by another case": sent,
    "and it is confirmed": confirmed,
    "and it was refused": refused_after_it_was_sent,
    "and it was taken back": taken_back,
    "and it is held there as well": held_before,
    "400 days ago": long_ago,
    "as the last of several": lambda context: sent(context, count=5, at=4),
    "in one that is too large to remember": lambda context: sent(context, count=11, at=10),
    "begun and never answered": begun,
    "by two other cases": twice_by_others,
}


@pytest.mark.parametrize("send", OURS.values(), ids=list(OURS))
def test_what_a_submission_of_ours_carried_before_is_sent_again_under_its_own_identifier_alone(
    context: Context, monkeypatch: pytest.MonkeyPatch, send: Callable[[Context], object]
) -> None:
    """Under the next one Stripe would take it for other usage: 10 is billed for 5."""
    monkeypatch.setattr(submitted_index, "_SMALL", 10)
    send(context)
    book = a_book(context, "later")
    assert reason_of(context, book, book.send([0])) == "arrival_unknown"
    assert approved(context, book) == [NAME]


@pytest.mark.parametrize(
    "name",
    ["i1~r2", "mm-0123456789abcdef01234567-12", " i1 ", 'I1,"x"', "訂單-7", "mm-" + "a" * 64 + "~r3"],
)
def test_however_it_is_called_it_is_known_as_ours_by_the_same_case_and_however_often_it_is_approved(
    context: Context, name: str
) -> None:
    """Sent as it was on somebody's word, Stripe says that it holds it, and he is asked again."""
    book = a_book(context, "perhaps refused", name)
    first = book.send([0])
    book.move(EntryKind.HELD, [0], reason="perhaps_refused", submission_id=first)
    assert approved(context, book) == [name]
    assert reason_of(context, book, sent_on(context, book, 2), name) == "arrival_unknown"
    assert approved(context, book) == [name]


def sent_on(context: Context, book: Book, ordinal: int) -> str:
    """Send what an approval has planned."""
    with pytest.MonkeyPatch.context() as patched:
        move = book.move
        patched.setattr(
            book, "move", lambda kind, *rest, **more: kind is EntryKind.PLANNED or move(kind, *rest, **more)
        )
        return book.send([0], ordinal=ordinal)


def only_planned(context: Context) -> None:
    a_book(context, "earlier").move(EntryKind.PLANNED, [0])


STRANGERS: dict[str, Callable[[Context], object]] = {
    "nobody of us": lambda _context: None,
    "it was only planned": only_planned,
    "for another account": lambda context: sent(context, account="acct_other"),
    "in other letters": lambda context: sent(context, NAME.upper()),
    "composed otherwise": lambda context: sent(context, "order 7/u\u0308"),
    "with a blank": lambda context: sent(context, f"{NAME} "),
    "its counter-entry": lambda context: sent(context, f"{NAME}~undo"),
    "the beginning of it": lambda context: sent(context, NAME[:-1]),
}


@pytest.mark.parametrize("send", STRANGERS.values(), ids=list(STRANGERS))
def test_what_none_of_ours_carried_goes_under_the_next_identifier_on_somebodys_word(
    context: Context, send: Callable[[Context], object]
) -> None:
    """Called ours, usage that Stripe will never take under that identifier could not be billed at all."""
    send(context)
    book = a_book(context, "later")
    assert reason_of(context, book, book.send([0])) == "identifier_taken"
    assert approved(context, book) == [revision_identifier(NAME, 2)]
