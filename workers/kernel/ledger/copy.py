"""A whole ledger copied into another database, whichever of the two kinds either is: what backups are made of."""

from typing import Final

from sqlalchemy import Connection, delete, exists, insert, select, text

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import acts, cases, events, metadata, users

AT_A_TIME: Final = 100
"""Rows that are held in memory at once: an event's may carry its body twice."""


def copy_ledger(source: Database, target: Database) -> None:
    """Let `target` hold what `source` holds at one moment, all of it or nothing; both are of this release's schema.

    Nobody who writes to `source` waits. Raises LedgerUnavailable.
    """
    with source.read() as read, target.write() as written:
        _see_one_moment(read)
        _take_time(written)
        for table in reversed(metadata.sorted_tables):
            written.execute(delete(table))
        for table in metadata.sorted_tables:
            rows = read.execution_options(yield_per=AT_A_TIME).execute(select(table)).mappings()
            for part in rows.partitions():
                written.execute(insert(table), [dict(row) for row in part])


def is_empty(database: Database) -> bool:
    """Whether nothing stands in a ledger that somebody could miss. Raises LedgerUnavailable."""
    with database.read() as connection:
        return not any(connection.scalar(select(exists(table.select()))) for table in (events, cases, acts, users))


def _see_one_moment(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # a read of SQLite's sees one anyway
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    _take_time(connection)


def _take_time(connection: Connection) -> None:
    """Let a transaction wait for the other database longer than for a process that is gone."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
