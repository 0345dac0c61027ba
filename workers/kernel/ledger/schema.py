"""Bringing a database to the schema that this release needs, safely under several starting processes."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from workers.kernel.ledger.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6D6D656E64
"""Key of the PostgreSQL advisory lock that lets one migrating process in at a time."""


def upgrade(database: Database) -> None:
    """Migrate to the newest revision; a second process waits and then finds nothing to do.

    SQLite's own write lock serialises migrations there. Raises LedgerUnavailable.
    """
    config = _config()
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def revision(connection: Connection) -> str | None:
    """Return the revision that the database is at; None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """Return the revision that this release needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def is_current(database: Database) -> bool:
    """Whether the database is at the revision that this release needs. Raises LedgerUnavailable."""
    with database.read() as connection:
        return revision(connection) == newest()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
