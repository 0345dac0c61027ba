"""If these fail, a database that is away looks like a bug, or stays away for us after it is back."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.ledger.test_events import a_receipt
from tests.servers import PostgresServer
from workers.kernel.errors import LedgerUnavailable, SettingsUnusable
from workers.kernel.ledger import Ledger, connect, schema
from workers.kernel.ledger import database as database_module


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)


@pytest.fixture
def file_ledger(impatient: None, migrated_sqlite: Path, tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "ledger.db").write_bytes(migrated_sqlite.read_bytes())
    ledger = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


def test_a_locked_sqlite_is_unavailable_for_writing_readable_and_recovers(
    file_ledger: Ledger, tmp_path: Path
) -> None:
    file_ledger.events.record(a_receipt("evt_before"))
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(LedgerUnavailable, match="locked"):
        file_ledger.events.record(a_receipt("evt_1"))
    assert time.monotonic() - started < 3
    assert file_ledger.events.get("evt_before") is not None
    other.execute("COMMIT")
    other.close()
    assert file_ledger.events.record(a_receipt("evt_1"))


def test_a_thread_waits_its_turn_to_write_but_not_for_ever(file_ledger: Ledger) -> None:
    with ThreadPoolExecutor(1) as pool:
        with file_ledger.database.write():
            started = time.monotonic()
            with pytest.raises(LedgerUnavailable, match="locked"):
                pool.submit(file_ledger.events.record, a_receipt("evt_1")).result()
            assert time.monotonic() - started < 3
        assert pool.submit(file_ledger.events.record, a_receipt("evt_1")).result()


def test_a_failed_write_gives_its_turn_back(file_ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), file_ledger.database.write():
        raise RuntimeError
    assert file_ledger.events.record(a_receipt("evt_1"))


def test_what_was_committed_outlives_the_process(file_ledger: Ledger, tmp_path: Path) -> None:
    file_ledger.events.record(a_receipt("evt_1"))
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        assert other.execute("SELECT id FROM events").fetchall() == [("evt_1",)]
    other.close()


def test_a_sqlite_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    ledger = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    with pytest.raises(LedgerUnavailable):
        ledger.events.record(a_receipt())
    ledger.close()


def test_a_full_disk_is_unavailable_and_loses_nothing(file_ledger: Ledger) -> None:
    file_ledger.events.record(a_receipt("evt_before"))
    with file_ledger.database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(LedgerUnavailable, match="full"):
        file_ledger.events.record(a_receipt("evt_1", raw=b"x" * 1_000_000))
    assert file_ledger.events.get("evt_before") is not None
    assert file_ledger.events.get("evt_1") is None


@pytest.mark.postgres
def test_a_restarted_postgres_is_unavailable_and_then_serves_again(postgres_server: PostgresServer) -> None:
    ledger = connect(postgres_server.create("restarted"))
    schema.upgrade(ledger.database)
    assert ledger.events.record(a_receipt("evt_before"))
    postgres_server.stop()
    try:
        with pytest.raises(LedgerUnavailable):
            ledger.events.record(a_receipt("evt_1"))
        with pytest.raises(LedgerUnavailable):
            ledger.queries.oldest_unprocessed()
    finally:
        postgres_server.start()
    assert ledger.events.record(a_receipt("evt_1"))
    assert ledger.events.get("evt_before") is not None
    ledger.close()


@pytest.mark.postgres
def test_a_restart_that_nobody_saw_costs_no_event_although_connections_stand_ready(
    postgres_server: PostgresServer,
) -> None:
    ledger = connect(postgres_server.create("restarted_unseen"))
    schema.upgrade(ledger.database)
    with ledger.database.read(), ledger.database.read(), ledger.database.read():
        pass
    postgres_server.stop()
    postgres_server.start()
    assert ledger.events.record(a_receipt())
    with ledger.database.read(), ledger.database.read(), ledger.database.read():
        assert ledger.events.get("evt_1") is not None
    ledger.close()


def test_many_deliveries_of_one_event_at_once_store_it_once(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: ledger.events.record(a_receipt()), range(24)))
    assert stored.count(True) == 1


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost/ledger"])
def test_an_address_of_no_ledger_is_named_as_a_setting(url: str) -> None:
    with pytest.raises(SettingsUnusable, match="DATABASE_URL"):
        connect(url)
