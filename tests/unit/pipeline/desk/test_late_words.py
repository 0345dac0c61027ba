"""A word that is carried out later than it was asked for. If these fail, it does what nobody has looked at."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from workers.kernel.errors import Conflict
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.reasons import UNDONE
from workers.pipeline.context import Context
from workers.pipeline.desk import desk

REASON = "no_identifier"


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


@pytest.fixture
def book(context: Context) -> Book:
    """A case of which one record waits for a person and another is billed."""
    book = Book(context, 2)
    book.move(EntryKind.QUARANTINED, [0], reason=REASON)
    book.confirm([1], book.send([1]))
    return book


def approved(context: Context, kind: str, subject: str | None, **arguments: object) -> Act:
    """An act that is approved on its page and not carried out yet."""
    act, _ = desk.ask(context, kind, subject, arguments, actor="Ada", why="mended")
    return context.ledger.acts.approve(act, "Ada", needed=1)


def test_what_was_taken_back_from_stripe_meanwhile_is_not_sent_again_with_the_rest(
    context: Context, book: Book
) -> None:
    """A customer was billed by mistake, and somebody has undone it while an approved retry waited."""
    act = approved(context, "retry", book.case_id, cases=[book.case_id])
    book.move(EntryKind.UNDONE, [1], route=1, reason=UNDONE)
    assert desk.carry_on_open(context) == 1
    assert (context.ledger.acts.get(act.id).state, book.balance(Bucket.PENDING)) == (ActState.REFUSED, 0)


def test_of_many_cases_one_that_has_changed_keeps_no_other_waiting(context: Context, book: Book) -> None:
    other = Book(context, 1, key="another")
    other.move(EntryKind.QUARANTINED, [0], reason=REASON)
    act = approved(context, "retry", None, cases=[book.case_id, other.case_id])
    book.move(EntryKind.UNDONE, [1], route=1, reason=UNDONE)
    desk.carry_on_open(context)
    ended = context.ledger.acts.get(act.id)
    assert (ended.state, other.balance(Bucket.PENDING), book.balance(Bucket.PENDING)) == (ActState.DONE, 1, 0)
    assert "has changed since this was shown" in (ended.outcome or {})["left"][0]


def test_a_word_on_another_effect_does_not_count_for_this_one(context: Context, book: Book) -> None:
    """Under four eyes the first has seen one record, and the second has looked anew and sees two."""
    context = replace(context, settings=context.settings.model_copy(update={"approvals": 2}))
    act, _ = desk.ask(context, "retry", book.case_id, {"cases": [book.case_id]}, actor="Ada", why="mended")
    act = desk.approve(context, act, "Ada")
    book.move(EntryKind.UNDONE, [1], route=1, reason=UNDONE)
    anew = desk.show_anew(context, act)
    assert desk.approve(context, anew, "Grace").state is ActState.SHOWN
    assert book.balance(Bucket.PENDING) == 0


def test_what_is_being_carried_out_is_not_withdrawn(context: Context, book: Book) -> None:
    """It would be said that nothing was done, and nobody could take it back."""
    act = approved(context, "write_off", book.case_id, case_id=book.case_id)
    with pytest.raises(Conflict):
        desk.withdraw(context, act, "Ada")
    desk.carry_on_open(context)
    assert context.ledger.acts.get(act.id).state is ActState.DONE


def test_of_two_rules_for_one_customer_none_holds_that_was_approved_without_a_word_of_the_other(
    context: Context,
) -> None:
    first = approved(context, "make_rule", None, rule="customer", key="acme", value="cus_1")
    second = approved(context, "make_rule", None, rule="customer", key="acme", value="cus_2")
    desk.settle(context, first.id)
    desk.settle(context, second.id)
    assert [rule.value for rule in context.ledger.rules.in_force()] == ["cus_1"]
    assert "Ada has said cus_1" in (context.ledger.acts.get(second.id).outcome or {})["error"]


def test_a_rule_goes_on_after_a_worker_held_its_case(context: Context, book: Book) -> None:
    """Its own word does not contradict it."""
    act = approved(context, "make_rule", None, rule="customer", key="acme", value="cus_1")
    context.ledger.rules.make(act, "customer", "acme", "cus_1")
    assert desk.settle(context, act.id) is None
    assert context.ledger.acts.get(act.id).state is ActState.DONE
