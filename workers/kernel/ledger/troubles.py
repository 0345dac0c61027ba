"""Troubles that a person is still to be told of: alike ones are one, and are counted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import case, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import CLOCKS_DIFFER, Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import troubles

_NAMES: Final = re.compile(r"\b[a-z]+_\w*\d\w*|\d{5,}")
"""Ids and long numbers: by them differ troubles that are alike."""


@dataclass(frozen=True)
class StoredTrouble:
    """The first of `untold` alike troubles, as plain JSON."""

    key: str
    trouble: Mapping[str, Any]
    untold: int


class Troubles:
    """The troubles table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def note(self, subject: str, text: str, trouble: Mapping[str, Any]) -> None:
        """Write down that a person is to be told; by `text` it is alike others. Raises LedgerUnavailable.

        What was told lately and comes again over something else is counted and waits; over the same subject it is
        news: somebody has tried to mend it.
        """
        key = sha256(_NAMES.sub("*", text).encode()).hexdigest()
        row = {"subject": subject, "trouble": dict(trouble), "noted_at": self._clock()}
        new = insert(troubles).values(key=key, untold=1, **row)
        columns, none_waits = troubles.c, troubles.c.untold == 0
        alike = update(troubles).where(columns.key == key)
        first = alike.where(none_waits).values(
            **row, untold=1, told_at=case((columns.subject != subject, columns.told_at))
        )
        further = alike.values(untold=columns.untold + 1)
        for _ in range(2):  # another process may put the row in between
            try:
                with self._database.write() as connection:
                    if not connection.execute(first).rowcount and not connection.execute(further).rowcount:
                        connection.execute(new)
                return
            except IntegrityError:
                continue

    def due(self, fold: timedelta) -> Sequence[StoredTrouble]:
        """Return what is to be told, the oldest first; what was told of its like less than `fold` ago waits."""
        columns, now = troubles.c, self._clock()
        by_a_clock_ahead = columns.told_at > now + CLOCKS_DIFFER
        told_long_ago = or_(columns.told_at.is_(None), columns.told_at <= now - fold, by_a_clock_ahead)
        query = select(columns.key, columns.trouble, columns.untold).where(columns.untold > 0, told_long_ago)
        return [StoredTrouble(**row) for row in self._database.rows(query.order_by(columns.noted_at))]

    def told(self, trouble: StoredTrouble) -> None:
        """Write down that a person was told; those that came meanwhile stay untold."""
        columns, now = troubles.c, self._clock()
        mine = update(troubles).where(columns.key == trouble.key)
        with self._database.write() as connection:
            connection.execute(mine.values(untold=columns.untold - trouble.untold, told_at=now))

    def forget(self, before: datetime) -> None:
        """Forget what was told before a moment and has not come again."""
        with self._database.write() as connection:
            connection.execute(delete(troubles).where(troubles.c.untold == 0, troubles.c.told_at < before))
