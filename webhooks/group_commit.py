"""Group commit: who finds nobody committing commits for all that wait, and each is told what became of his own.

A commit costs about the same for one event as for many, so what comes in meanwhile shares the next. It needs no
thread of its own and works between threads as between greenlets; where nobody waits, an event is committed at once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from workers.kernel.errors import LedgerUnavailable, Overloaded

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST_TOGETHER: Final = 64
"""Items of one group: each may be a body of `WEBHOOK_MAX_BODY`, and all of them are one statement."""
ROUNDS: Final = 3
"""Turns of the event loop that a request takes from its socket to its group."""
MOST_WAITING: Final = 200
"""Items that may wait at a time: fewer than connections, so that whoever comes then is still told to come again."""
TURN_SECONDS: Final = 5.0
"""How long an item waits to be committed, beside the time that its own commit takes."""


@dataclass(eq=False)
class _Waiting(Generic[Item, Answer]):
    """An item, and from when it was `taken` into a group what became of it."""

    item: Item
    taken: bool = False
    outcome: Answer | Exception = field(default_factory=lambda: LedgerUnavailable("the commit was broken off"))


class GroupCommit(Generic[Item, Answer]):
    """Lets many callers at once share what `commit` does with the items of all; it returns an answer for each.

    Where it raises LedgerUnavailable the whole group has failed. Any other error is one item's own: then each is
    committed alone.
    """

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[Answer]]) -> None:
        self._commit = commit
        self._waiting: deque[_Waiting[Item, Answer]] = deque()
        self._line = threading.Lock()  # held while somebody leaves `_waiting`
        self._turn = threading.Lock()  # held while somebody commits

    def of(self, item: Item) -> Answer:
        """Return the answer for an item, once it is committed.

        Raises Overloaded when too many wait, LedgerUnavailable when its turn does not come or the group fails, and
        what committing this item alone raises.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise Overloaded("overloaded")
        mine: _Waiting[Item, Answer] = _Waiting(item)
        self._waiting.append(mine)
        if not self._turn.acquire(timeout=TURN_SECONDS):
            self._leave(mine)
            raise LedgerUnavailable("the ledger does not answer: others have waited for it in vain")
        try:
            while not mine.taken:  # who comes when the turn is free may have more than a group before him
                self._lead()
        finally:
            self._turn.release()
        if isinstance(mine.outcome, Exception):
            raise mine.outcome
        return mine.outcome

    def _leave(self, mine: _Waiting[Item, Answer]) -> None:
        with self._line, suppress(ValueError):  # it may be in the group that is being committed
            self._waiting.remove(mine)

    def _lead(self) -> None:
        self._let_others_in()
        with self._line:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]
        for one in group:
            one.taken = True
        for one, outcome in zip(group, self._outcomes([one.item for one in group]), strict=True):
            one.outcome = outcome

    def _let_others_in(self) -> None:
        """Wait for those that are on their way here: a commit to SQLite lets no greenlet on."""
        quiet = 0
        while quiet < ROUNDS and (there := len(self._waiting)) < MOST_TOGETHER:
            time.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == there else 0

    def _outcomes(self, items: Sequence[Item]) -> Sequence[Answer | Exception]:
        try:
            return self._commit(items)
        except LedgerUnavailable as error:
            return [LedgerUnavailable(str(error)) for _ in items]
        except Exception as error:  # noqa: BLE001 (it is raised again for whose it is)
            return [error] if len(items) == 1 else [outcome for item in items for outcome in self._outcomes([item])]
