"""Signs of life: when each part of the service was last seen, where every process can read it.

They have a table of their own: `Queries.newest_moment` says what a restored backup still knew, and a process
that only lives has written down nothing of the usage.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import heartbeats


class Sign(StrEnum):
    """What is seen."""

    WORKER = "worker"
    CLOCK = "clock"
    ARCHIVE = "archive"
    WEBHOOK = "webhook"
    SIGNATURES_REFUSED = "signatures_refused"
    ALERT_TAKEN = "alert_taken"
    ALERT_FAILED = "alert_failed"


class Heartbeats:
    """The heartbeats table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def beat(self, sign: Sign) -> None:
        """Write down that it was seen now. Raises LedgerUnavailable."""
        now = self._clock()
        with self._database.write() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            row = dialect.insert(heartbeats).values(name=sign.value, at=now)
            connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"at": now}))

    def last(self) -> Mapping[str, datetime]:
        """Return when each sign was last seen; one that never was is left out. Raises LedgerUnavailable."""
        return {row["name"]: row["at"] for row in self._database.rows(select(heartbeats))}
