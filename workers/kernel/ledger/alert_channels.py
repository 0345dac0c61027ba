"""How much each alert channel was told lately, and whose turn it is to speak: one process of all at a time.

A channel's name is a digest: its address is a secret.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

from workers.kernel.clock import Clock, from_text, to_text
from workers.kernel.errors import Conflict
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.leases import Lease, Leases
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
    """The alert_channels table; a turn is a lease on the row of a channel."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._leases = Leases(database, clock, alert_channels, "held_until", lambda: {"held_until": None})

    @contextmanager
    def turn(self, name: str, owner: str) -> Iterator["Turn | None"]:
        """Speak on a channel alone; None where another does. Raises LedgerUnavailable."""
        new = {"id": name, **Told().to_row()}
        try:
            row = self._leases.take(name, owner, TURN, new=new)
        except Conflict:
            yield None
            return
        try:
            yield Turn(self._leases, name, owner, Told.from_row(dict(row)))
        finally:
            self._leases.give_back(Lease(name, owner, row["deaths"]))


@dataclass
class Turn:
    """One process's turn on a channel. What it has said is written down as it goes."""

    _leases: Leases = field(repr=False)
    _name: str
    _owner: str
    told: Told

    def save(self, **changes: Any) -> None:
        """Change what the channel was told, and go on with the turn. Raises Conflict where it was lost."""
        told = replace(self.told, **changes)
        values = {**told.to_row(), "held_until": self._leases.clock() + TURN}
        with self._leases.database.write() as connection:
            self._leases.write(connection, self._name, self._owner, values)
        self.told = told
