"""How much each alert channel was told lately, and whose turn it is to speak: one process of all at a time.

A channel's name is a digest: its address is a secret.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

from sqlalchemy import insert, or_, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock, from_text, to_text
from workers.kernel.errors import Conflict
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import alert_channels

TURN: Final = timedelta(minutes=2)
"""How long a turn lasts without a word: longer than any post takes."""


@dataclass(frozen=True)
class Told:
    """When a channel was told something: new messages, and changes of earlier ones. The oldest may be left out.

    `failures` counts the tries that failed one after another; nothing is tried before `paused_until`.
    """

    messages: Sequence[datetime] = ()
    updates: Sequence[datetime] = ()
    failures: int = 0
    paused_until: datetime | None = None

    def to_row(self) -> dict[str, Any]:
        return {
            "messages": list(map(to_text, self.messages)),
            "updates": list(map(to_text, self.updates)),
            "failures": self.failures,
            "paused_until": self.paused_until,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        messages, updates = (tuple(map(from_text, row[name])) for name in ("messages", "updates"))
        return cls(messages, updates, row["failures"], row["paused_until"])


class AlertChannels:
    """The alert_channels table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def turn(self, name: str, owner: str) -> Iterator["Turn | None"]:
        """Speak on a channel alone; None where another does. Raises LedgerUnavailable."""
        told = self._take(name, owner)
        turn = None if told is None else Turn(self._database, self._clock, name, owner, told)
        try:
            yield turn
        finally:
            if turn is not None:
                with suppress(Conflict):
                    turn.end()

    def _take(self, name: str, owner: str) -> Told | None:
        columns, now = alert_channels.c, self._clock()
        taken = {"holder": owner, "held_until": now + TURN}
        free = or_(columns.holder.is_(None), columns.held_until <= now, columns.held_until > now + 2 * TURN)
        found = update(alert_channels).where(columns.name == name, free).values(taken).returning(alert_channels)
        try:
            with self._database.write() as connection:
                row = connection.execute(found).mappings().first()
                if row is None:
                    connection.execute(insert(alert_channels).values(name=name, **Told().to_row(), **taken))
        except IntegrityError:  # it is there, and somebody speaks
            return None
        return Told() if row is None else Told.from_row(dict(row))


@dataclass
class Turn:
    """One process's turn on a channel. What it has said is written down as it goes."""

    _database: Database = field(repr=False)
    _clock: Clock
    _name: str
    _owner: str
    told: Told

    def save(self, **changes: Any) -> None:
        """Change what the channel was told, and go on with the turn. Raises Conflict where it was lost."""
        told = replace(self.told, **changes)
        self._write({**told.to_row(), "held_until": self._clock() + TURN})
        self.told = told

    def end(self) -> None:
        """Let others speak. Raises Conflict where the turn was lost."""
        self._write({"holder": None, "held_until": None})

    def _write(self, values: Mapping[str, Any]) -> None:
        columns = alert_channels.c
        mine = update(alert_channels).where(columns.name == self._name, columns.holder == self._owner)
        with self._database.write() as connection:
            if connection.execute(mine.values(dict(values))).rowcount != 1:
                raise Conflict("the turn on the alert channel was lost")
