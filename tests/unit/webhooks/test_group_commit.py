"""If these fail, a post hangs behind others, or is told of another's fate: an event is lost, or never taken."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from webhooks import group_commit
from webhooks.group_commit import GroupCommit, _Waiting
from workers.kernel.errors import LedgerUnavailable, Overloaded


class Book:
    """What was committed, in which groups. Its first commit waits until the book is `open`."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.groups: list[list[int]] = []
        self.away = False

    def commit(self, items: Sequence[int]) -> Sequence[int]:
        self.open.wait(20)
        if self.away:
            raise LedgerUnavailable("away")
        if -1 in items:
            raise ZeroDivisionError
        self.groups.append(list(items))
        return [item * 10 for item in items]


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def group(book: Book) -> GroupCommit[int, int]:
    return GroupCommit(book.commit)


Send = Callable[..., list[Future[int]]]


@pytest.fixture
def send(book: Book, group: GroupCommit[int, int]) -> Iterator[Send]:
    """Send items from a thread each: the first is being committed when the others come, and all of them wait."""
    with ThreadPoolExecutor(16) as pool:

        def is_behind(others: int) -> bool:
            return len(group._waiting) == others and group._turn.locked()

        def given(*items: int) -> list[Future[int]]:
            sent = []
            for number, item in enumerate(items):
                sent.append(pool.submit(group.of, item))
                _until(partial(is_behind, number))
            return sent

        yield given
        book.open.set()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_comes_in_during_a_commit_shares_the_next_and_each_gets_its_own_answer(book: Book, send: Send) -> None:
    sent = send(1, 2, 3, 4)
    book.open.set()
    assert [one.result(10) for one in sent] == [10, 20, 30, 40]
    assert book.groups == [[1], [2, 3, 4]]


def test_who_finds_the_turn_free_behind_more_than_a_group_is_committed_before_he_is_answered(
    book: Book, group: GroupCommit[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn is given to whoever asks next, be it a newcomer: he was answered 200, and nothing was stored."""
    monkeypatch.setattr(group_commit, "MOST_TOGETHER", 2)
    group._waiting.extend(_Waiting(item) for item in (1, 2, 3, 4))
    book.open.set()
    assert group.of(5) == 50
    assert book.groups == [[1, 2], [3, 4], [5]]


def test_one_that_cannot_be_committed_fails_alone(book: Book, send: Send) -> None:
    first, sound, poison, another = send(1, 2, -1, 3)
    book.open.set()
    assert [one.result(10) for one in (first, sound, another)] == [10, 20, 30]
    with pytest.raises(ZeroDivisionError):
        poison.result(10)


def test_a_ledger_that_is_away_fails_all_that_wait_and_serves_the_next(
    book: Book, send: Send, group: GroupCommit[int, int]
) -> None:
    book.away = True
    sent = send(1, 2, 3)
    book.open.set()
    errors = [one.exception(10) for one in sent]
    assert all(isinstance(error, LedgerUnavailable) for error in errors)
    assert len(set(map(id, errors))) == len(sent)  # each with a traceback of its own
    book.away = False
    assert group.of(4) == 40


def test_who_comes_when_too_many_wait_is_told_at_once_and_the_others_are_served(
    book: Book, send: Send, group: GroupCommit[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MOST_WAITING", 3)
    sent = send(1, 2, 3, 4)
    with pytest.raises(Overloaded):
        group.of(5)
    book.open.set()
    assert [one.result(10) for one in sent] == [10, 20, 30, 40]
    assert group.of(5) == 50


def test_nobody_waits_for_ever_behind_a_commit_that_hangs(
    book: Book, send: Send, group: GroupCommit[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "TURN_SECONDS", 0.1)
    hanging, waiting = send(1, 2)
    with pytest.raises(LedgerUnavailable):
        waiting.result(10)
    book.open.set()
    assert hanging.result(10) == 10
    assert group.of(3) == 30
    assert book.groups == [[1], [3]]  # who was sent back is not committed afterwards
