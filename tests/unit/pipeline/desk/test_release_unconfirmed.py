"""Unconfirmed usage, on somebody's word. If these fail, it is billed twice, or can never be billed."""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingTarget
from tests.unit.pipeline.submit.test_confirm_by_totals import _stripe, look, sent, stripe_counts
from tests.unit.pipeline.totals.play import METER
from workers.kernel.advice import reasons_of
from workers.kernel.errors import InputUnusable, Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement
from workers.kernel.ledger.unconfirmed import unconfirmed
from workers.kernel.reasons import ARRIVAL_UNKNOWN
from workers.kernel.timeline import sentence_of
from workers.pipeline.advance import advance
from workers.pipeline.context import Context
from workers.pipeline.desk import desk


@dataclass
class Folder(RecordingTarget):
    """A folder in which every file of ours lies until somebody takes it away."""

    unread: bool = False

    def lies_there(self, name: str) -> bool:
        return self.unread and name.startswith("metermend-")


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    context = a_context(sqlite_ledger, tmp_path, clock, target=Folder())
    _stripe(context).meters = [METER]
    return context


@pytest.fixture
def book(context: Context) -> Book:
    """A case of which two records were sent and do not show in Stripe's totals by the deadline."""
    book = Book(context, 2)
    stripe_counts(context, "10")
    submission = sent(context, book, [0, 1])
    with book.held() as held:
        context.ledger.chunks.intend(held.renewed, submission, 1, 0, 2, {})
    while not unconfirmed(context.ledger.queries.entries(book.case_id)):
        look(context, book)
    return book


def asked(book: Book) -> Act:
    act, _ = desk.ask(
        book.context, "release", book.case_id, {"cases": [book.case_id]}, actor="Ada", why="looked in Stripe"
    )
    return act


def test_what_stripes_totals_show_nothing_of_goes_once_more_as_it_was(context: Context, book: Book) -> None:
    act = asked(book)
    effect = act.effect or {}
    assert (effect["records"], effect["quantities"]) == (2, {"api_calls": "2"})
    assert "skips their identifiers for a day only" in effect["warnings"][0]
    done = desk.approve(context, act, "Ada")
    assert (done.state, book.balance(Bucket.PLANNED), book.balance(Bucket.SUBMITTED)) == (ActState.DONE, 2, 0)
    told = [sentence_of(entry) for entry in context.ledger.queries.entries(book.case_id)]
    assert "2 records that are unconfirmed are let go once more, by Ada" in told
    advance(replace(context, owner="worker"), book.case_id)
    target = context.target
    assert isinstance(target, Folder)
    [again] = target.sent.values()
    assert pl.read_parquet(again.record_set)["identifier"].to_list() == ["u0", "u1"]


def test_what_broke_off_between_its_two_commits_is_done_once(context: Context, book: Book) -> None:
    act = context.ledger.acts.approve(asked(book), "Ada", needed=1)
    release = desk.order_of(act.kind, act.arguments)
    release._put_before_a_person(context, book.case_id, act)  # type: ignore[attr-defined]
    assert desk.carry_on_open(context) == 1
    assert (book.balance(Bucket.PLANNED), book.balance(Bucket.QUARANTINED)) == (2, 0)


def test_what_was_let_go_waits_as_held_when_that_is_taken_back(context: Context, book: Book) -> None:
    done = desk.approve(context, asked(book), "Ada")
    desk.take_back(context, done, "Grace")
    assert (book.balance(Bucket.PLANNED), book.balance(Bucket.QUARANTINED)) == (0, 2)
    assert reasons_of(context.ledger.queries.entries(book.case_id)).keys() == {ARRIVAL_UNKNOWN}
    assert desk.approve(context, asked(book), "Ada").state is ActState.DONE
    assert book.balance(Bucket.PLANNED) == 2


def test_what_came_to_wait_after_the_effect_was_shown_does_not_go_with_it(context: Context, book: Book) -> None:
    """Nobody has looked at it in Stripe."""
    desk.take_back(context, desk.approve(context, asked(book), "Ada"), "Ada")
    act = context.ledger.acts.approve(asked(book), "Ada", needed=1)
    with book.held() as held, held.transaction() as transaction:
        transaction.move(Movement(EntryKind.NOTED, None, None, 0, Decimal(0)))
    desk.carry_on_open(context)
    assert (context.ledger.acts.get(act.id).state, book.balance(Bucket.QUARANTINED)) == (ActState.REFUSED, 2)


def test_totals_that_have_grown_since_let_nothing_go(context: Context, book: Book) -> None:
    """A part of it may have arrived, and nobody can tell which."""
    stripe_counts(context, "10.5")
    with pytest.raises(InputUnusable, match="some of it may have arrived"):
        asked(book)


def test_growth_between_the_word_and_the_deed_lets_nothing_go(context: Context, book: Book) -> None:
    act = context.ledger.acts.approve(asked(book), "Ada", needed=1)
    stripe_counts(context, "12")
    desk.carry_on_open(context)
    assert (book.balance(Bucket.SUBMITTED), context.ledger.acts.get(act.id).state) == (2, ActState.REFUSED)


def test_a_file_that_stripe_may_read_yet_lets_nothing_go(context: Context, book: Book) -> None:
    target = context.target
    assert isinstance(target, Folder)
    target.unread = True
    with pytest.raises(InputUnusable, match="Stripe may read it yet"):
        asked(book)


def test_a_verdict_of_stripes_lets_nothing_go(context: Context, book: Book) -> None:
    """It has read the file, and its totals may only be late."""
    [submission] = context.ledger.submissions.of_case(book.case_id)
    with book.held() as held, held.transaction() as transaction:
        transaction.submissions.judged(submission.id, 1, "impset_1", "succeeded", {"accepted": 2})
    with pytest.raises(InputUnusable, match="told its verdict"):
        asked(book)


def test_a_stripe_that_does_not_tell_lets_nothing_go(
    context: Context, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Transient("Stripe answered 503")

    monkeypatch.setattr(context.stripe, "event_summaries", away)
    with pytest.raises(InputUnusable, match="does not tell its totals"):
        asked(book)
