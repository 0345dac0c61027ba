"""If these fail, a deployment starts on a database that it cannot use, or two starting processes break it."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.servers import PostgresServer
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger import Ledger, connect, schema
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import metadata

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
