"""Killing at each transition of the ledger: PostgreSQL itself holds the worker there, the product knows nothing.

A trigger makes the writing transaction wait for an advisory lock of ours, inside the transaction or at its commit.
The waiting is seen in `pg_locks`; then the workers are killed -9 and the lock is let go. Held inside, the
transaction is rolled back: the crash came before the transition. Held at the commit, it is committed though nobody
is there to learn it: the crash came after.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

GATE: Final = 7_070_707
HELD_SECONDS: Final = 30.0
FUNCTION: Final = f"""
CREATE OR REPLACE FUNCTION faults_gate() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$
"""


@dataclass(frozen=True)
class CrashPoint:
    """A transition: a write to a table of the ledger that fulfils a condition of SQL. `victim`: who writes it."""

    operation: str
    table: str
    condition: str = "true"
    victim: str = "worker"


def _entry(kind: str) -> CrashPoint:
    return CrashPoint("INSERT", "entries", f"NEW.kind = '{kind}'")


CRASH_POINTS: Final[Mapping[str, CrashPoint]] = {
    "event received": CrashPoint("INSERT", "events", victim="web"),
    "event claimed": CrashPoint("UPDATE", "events", "NEW.state = 'processing'"),
    "case opened": CrashPoint("INSERT", "cases"),
    "records seen": _entry("seen"),
    "event done": CrashPoint("UPDATE", "events", "NEW.state = 'done'"),
    "records planned": _entry("planned"),
    "records deferred": _entry("deferred"),
    "records reopened": _entry("reopened"),
    "submission intended": CrashPoint("INSERT", "submissions"),
    "chunk intended": CrashPoint("INSERT", "submission_chunks"),
    "chunk finished": CrashPoint("UPDATE", "submission_chunks", "NEW.finished_at IS NOT NULL"),
    "submission sent": _entry("sent"),
    "verdict taken in": CrashPoint("UPDATE", "submissions", "NEW.verdict IS DISTINCT FROM OLD.verdict"),
    "records confirmed": _entry("confirmed"),
    "case told": CrashPoint("UPDATE", "cases", "NEW.alerted IS DISTINCT FROM OLD.alerted"),
}
"""Every transition on a record's way from refused to billed, in the order in which it passes them."""


class Gate:
    """Holds whoever comes to a crash point, until it is opened."""

    def __init__(self, database_url: str) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(database_url, autocommit=True)
        self._connection.execute(FUNCTION)

    @contextmanager
    def closed_at(self, point: CrashPoint, *, after_commit: bool) -> Iterator[None]:
        """Hold writers at the point inside the block; afterwards nobody is held."""
        deferral = "DEFERRABLE INITIALLY DEFERRED" if after_commit else ""
        kind = "CONSTRAINT TRIGGER" if after_commit else "TRIGGER"
        self._connection.execute(f"SELECT pg_advisory_lock({GATE})")
        self._connection.execute(
            f"CREATE {kind} faults_gate AFTER {point.operation} ON {point.table} {deferral} "
            f"FOR EACH ROW WHEN ({point.condition}) EXECUTE FUNCTION faults_gate()"
        )
        try:
            yield
        finally:
            self._connection.execute(f"SELECT pg_advisory_unlock({GATE})")
            self._connection.execute(f"DROP TRIGGER faults_gate ON {point.table}")

    def somebody_waits(self) -> bool:
        """Whether a writer stands at the point."""
        query = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted"
        found = self._connection.execute(query).fetchone()
        return bool(found and found[0])

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
