"""Small pieces and empty ledgers for every walk through the protocol."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import PostgresServer
from tests.unit.protocol.world import World
from workers.pipeline.plan import plan
from workers.pipeline.undo import cancel
from workers.targets import meter_event_stream, meter_events

NewLedger = Callable[[Path], str]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three records be a large case: planned, sent and taken back in pieces, one call at a time."""
    monkeypatch.setattr(plan, "PART_RECORDS", 2)
    monkeypatch.setattr(meter_events, "CHUNK", 2)
    monkeypatch.setattr(meter_event_stream, "CHUNK", 2)
    monkeypatch.setattr(meter_events, "THREADS", 1)
    monkeypatch.setattr(cancel, "CHUNK", 2)


@pytest.fixture
def sqlite(migrated_sqlite: Path) -> NewLedger:
    """Make an empty ledger in a folder."""

    def new(folder: Path) -> str:
        shutil.copy(migrated_sqlite, folder / "ledger.db")
        return f"sqlite:///{folder / 'ledger.db'}"

    return new


@pytest.fixture
def postgres(migrated_postgres: str, postgres_server: PostgresServer) -> NewLedger:
    """Empty the one ledger on PostgreSQL."""

    def new(_: Path) -> str:
        postgres_server.empty(migrated_postgres)
        return migrated_postgres

    return new


@pytest.fixture
def world(tmp_path: Path, sqlite: NewLedger) -> Iterator[World]:
    """A world that submits to the meter events API."""
    made = World(tmp_path, sqlite(tmp_path))
    yield made
    made.ledger.close()
