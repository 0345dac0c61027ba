"""Named places where periodic work stopped, so that it goes on from there."""

from typing import Any, Final

from sqlalchemy import insert, select, update

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import checkpoints

BODIES_REMOVED: Final = "retention:bodies"
"""Checkpoint: bodies of events that were received before this time may be gone."""


class Checkpoints:
    """The checkpoints table: one JSON value a name."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, name: str) -> Any:
        """Return what was last saved under `name`, or None."""
        with self._database.read() as connection:
            return connection.scalar(select(checkpoints.c.value).where(checkpoints.c.name == name))

    def save(self, name: str, value: Any) -> None:
        """Save plain JSON under `name`."""
        row = {"value": value, "changed_at": self._clock()}
        with self._database.write() as connection:
            changed = connection.execute(update(checkpoints).where(checkpoints.c.name == name).values(row))
            if changed.rowcount == 0:
                connection.execute(insert(checkpoints).values(name=name, **row))
