"""Bringing a database to the schema that this release needs, safely under several starting processes.

Alembic is loaded to migrate only: it would be a sixth of every start.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, column, inspect, select, table, text

from workers.kernel.errors import SettingsUnusable
from workers.kernel.ledger.database import Database

NEWEST: Final = "0017"
"""The revision that this release needs: that of the last file in `migrations/versions`."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x6D6D656E64
"""Key of the PostgreSQL advisory lock that lets one migrating process in at a time."""
_VERSION: Final = table("alembic_version", column("version_num"))


def upgrade(database: Database) -> None:
    """Migrate to the newest revision; a second process waits and then finds nothing to do.

    SQLite's own write lock serialises migrations there. Raises LedgerUnavailable, and SettingsUnusable where a
    later release has migrated it.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            # What is there may take long to go through.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        found = revision(connection)
        if found is not None and found > NEWEST:
            raise later_release(found)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def revision(connection: Connection) -> str | None:
    """Return the revision that the database is at; None when it is empty."""
    there = inspect(connection).has_table(_VERSION.name)
    return connection.scalar(select(_VERSION.c.version_num)) if there else None


def later_release(found: str) -> SettingsUnusable:
    """Return what to raise where the ledger is at a revision that this release does not know."""
    return SettingsUnusable(
        f"the ledger is at revision {found}, of a later release than this one, which knows {NEWEST}",
        where="DATABASE_URL",
        mend="run the release that migrated it",
    )


def is_current(database: Database) -> bool:
    """Whether the database is at the revision that this release needs. Raises LedgerUnavailable."""
    with database.read() as connection:
        return revision(connection) == NEWEST
