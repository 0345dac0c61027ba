"""If these fail, a deployment starts on a database that it cannot use, or two starting processes break it."""

import json
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.conftest import FrozenClock
from tests.servers import PostgresServer
from workers.kernel.clock import to_text
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger import Ledger, connect, hash_chain, schema
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Tally
from workers.kernel.ledger.links import lane_of
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
        ledger.queries.ping()
    ledger.close()


def test_a_ledger_of_a_later_release_is_not_taken_for_current(empty_url: str) -> None:
    database = Database(empty_url)
    schema.upgrade(database)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert not schema.is_current(database)
    database.close()


def test_what_the_first_release_wrote_is_read_by_this_one(empty_url: str, clock: FrozenClock) -> None:
    ledger = connect(empty_url, clock)
    key = "import_set:impset_1"
    entry: dict[str, Any] = dict.fromkeys(hash_chain.COVERED) | {
        "case_id": "case_1", "number": 1, "kind": "seen", "to_bucket": "pending", "records": 2,
        "quantity": Decimal("0.10"), "revision": 0, "actor": "metermend", "detail": {}, "at": clock.now,
        "previous": hash_chain.genesis(key),
    }  # fmt: skip
    entry["hash"] = hash_chain.entry_hash(entry)
    with ledger.database.write() as connection:
        _upgrade_to(connection, "0001")
        for table, row in FIRST_RELEASE.items():
            connection.execute(_insert(table, row | {"head": entry["hash"]} if table == "cases" else row))
        text = {"quantity": "0.10", "detail": "{}", "at": to_text(clock.now)}
        connection.execute(_insert("entries", {k: v for k, v in (entry | text).items() if v is not None}))
    schema.upgrade(ledger.database)
    event, case = ledger.events.get("evt_1"), ledger.cases.get("case_1")
    assert event is not None
    assert case is not None
    assert (event.raw, event.state, event.deaths) == (b"{}", EventState.RECEIVED, 0)
    assert case.balance.failed == Tally(2, Decimal("0.1"))
    assert hash_chain.first_break(key, case.head, ledger.queries.chained_entries("case_1")) is None
    (link,) = ledger.links.of_lane(lane_of("case_1"))
    assert (link.case_id, link.version, link.entry_hash) == ("case_1", 1, case.head)
    assert ledger.events.claim("evt_1", "one", timedelta(minutes=5)).attempts == 1
    ledger.close()


MORNING = "2026-11-21T09:30:00.000000Z"
FIRST_RELEASE: dict[str, dict[str, Any]] = {
    "events": {
        "id": "evt_1", "kind": "snapshot", "type": "data_management.import_set.failed", "livemode": False,
        "received_at": MORNING, "raw": b"{}", "sha256": "0" * 64, "state": "received", "attempts": 0, "deaths": 0,
    },
    "cases": {
        "id": "case_1", "key": "import_set:impset_1", "kind": "import_set", "livemode": False, "summary": "x",
        "state": "open", "version": 1, "attempts": 0, "deaths": 0, "opened_at": MORNING, "changed_at": MORNING,
        "balance": '{"failed": {"records": 2, "quantity": "0.10"}, "pending": {"records": 2, "quantity": "0.10"}}',
    },
}  # fmt: skip


def _upgrade_to(connection: sa.Connection, revision: str) -> None:
    config = schema._config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _insert(table: str, row: dict[str, Any]) -> sa.Insert:
    """Insert as text, for today's tables have columns that the first release had not."""
    names = [sa.column(name, sa.JSON if name in ("balance", "detail") else None) for name in row]
    values = {name: json.loads(v) if name in ("balance", "detail") else v for name, v in row.items()}
    return sa.insert(sa.table(table, *names)).values(values)
