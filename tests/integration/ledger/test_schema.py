"""If these fail, a deployment starts on a database that it cannot use, or two starting processes break it."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from tests.servers import PostgresServer
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger import Ledger, connect, schema
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import metadata

NOW = "2026-11-28T12:00:00.000000Z"
UPGRADE = """
import sys
from workers.kernel.ledger import schema
from workers.kernel.ledger.database import Database
sys.stdin.readline()
schema.upgrade(Database(sys.argv[1]))
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create(f"empty_{request.node.originalname}")


def test_an_empty_database_is_brought_to_the_newest_schema(empty_url: str) -> None:
    database = Database(empty_url)
    assert not schema.is_current(database)
    schema.upgrade(database)
    assert schema.is_current(database)
    schema.upgrade(database)
    database.close()


def test_migrations_and_tables_describe_the_same_database(ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []


def test_two_starting_processes_migrate_once(empty_url: str) -> None:
    start = [sys.executable, "-c", UPGRADE, empty_url]
    processes = [subprocess.Popen(start, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint.decode()
    database = Database(empty_url)
    assert schema.is_current(database)
    database.close()


def test_a_web_of_the_first_release_can_store_events_in_the_newest_schema(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an upgrade rolls on, Stripe's events come to webs of the release before: each would be answered 503."""
    database = Database(empty_url)
    upgrade_to(database, "0001", monkeypatch)
    with database.read() as connection:
        events = sa.Table("events", sa.MetaData(), autoload_with=connection)
    upgrade_to(database, "head", monkeypatch)
    event = {"id": "evt_1", "kind": "thin", "type": "t", "livemode": False, "sha256": "0" * 64, "state": "received"}
    with database.write() as connection:
        connection.execute(events.insert().values(**event, received_at=NOW, attempts=0, deaths=0))
    ledger = connect(empty_url)
    assert ledger.events.get("evt_1")
    ledger.close()
    database.close()


def test_no_migration_takes_away_what_the_release_before_reads_or_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web runs on beside it until it is replaced: what goes must go a release later."""
    database = Database(f"sqlite:///{tmp_path / 'steps.db'}")
    before: dict[str, dict[str, Any]] = {}
    for step in sorted(schema.MIGRATIONS.glob("versions/0*.py")):
        upgrade_to(database, step.name[:4], monkeypatch)
        after = columns_of(database)
        gone = [(table, name) for table in before for name in before[table].keys() - after.get(table, {}).keys()]
        assert gone == [], step.name
        added = [after[table][name] for table in before for name in after[table].keys() - before[table].keys()]
        assert [one for one in added if not one["nullable"] and one["default"] is None] == [], step.name
        before = after
    database.close()


def columns_of(database: Database) -> dict[str, dict[str, Any]]:
    """Table -> column -> what the database says of it."""
    with database.read() as connection:
        there = sa.inspect(connection)
        return {
            table: {one["name"]: dict(one) for one in there.get_columns(table)} for table in there.get_table_names()
        }


def upgrade_to(database: Database, revision: str, patch: pytest.MonkeyPatch) -> None:
    """Migrate as a release did whose newest schema was `revision`."""
    with patch.context() as of_before:
        of_before.setattr(command, "upgrade", partial(_upgrade, command.upgrade, revision))
        schema.upgrade(database)


def _upgrade(alembic: Callable[[Config, str], None], revision: str, config: Config, _head: str) -> None:
    alembic(config, revision)


def test_an_unmigrated_ledger_says_that_it_is_unavailable(empty_url: str) -> None:
    ledger = connect(empty_url)
    with pytest.raises(LedgerUnavailable):
        ledger.queries.oldest_unprocessed()
    ledger.close()


def test_a_ledger_of_a_later_release_is_not_taken_for_current(empty_url: str) -> None:
    database = Database(empty_url)
    schema.upgrade(database)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert not schema.is_current(database)
    database.close()
