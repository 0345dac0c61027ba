"""What every test may ask for: a clock to turn, a ledger on each database, a Redis."""

import gc
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from _pytest.nodeid import coerce_node_id
from flask import Flask
from hypothesis import settings
from jinja2 import FileSystemBytecodeCache

from tests.servers import PostgresServer, RedisServer
from workers.kernel.ledger import Ledger, connect, database
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.schema import upgrade

# How long an example takes is no property of ours: a busy machine takes long to load polars. The gate is run often
# and takes few examples of each property; `pytest --hypothesis-profile thorough` takes many.
settings.register_profile("gate", deadline=None, max_examples=4)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("gate")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of an xdist_group on one worker: xdist 3.8 says so where pytest 9.2 no longer reads it."""
    if hasattr(config, "workerinput"):
        for item in items:
            for mark in item.iter_markers("xdist_group"):
                item._id = coerce_node_id(f"{item.nodeid}@{mark.args[0]}")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from walking over all tests and libraries at each of its turns: a twentieth."""
    gc.freeze()


class FrozenClock:
    """Stands at a moment of a working day until it is turned."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def short_folder() -> Iterator[str]:
    """A folder for unix sockets, whose paths may have some 100 characters: pytest's own folders exceed that."""
    with tempfile.TemporaryDirectory(prefix="mm-") as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep templates compiled for the next app: each compiled its own, most of the time of tests of pages."""
    with pytest.MonkeyPatch.context() as patch:
        cache = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
        patch.setitem(Flask.jinja_options, "bytecode_cache", cache)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_statements() -> Iterator[None]:
    """Compile a statement once for all ledgers of a kind: each compiling its own took an eighth of the time."""
    first: dict[str, sa.Engine] = {}

    def create_engine(url: sa.URL, **options: Any) -> sa.Engine:
        engine = sa.create_engine(url, **options)
        known = first.setdefault(engine.dialect.name, engine)
        engine.dialect, engine._compiled_cache = known.dialect, known._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "create_engine", create_engine)
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for a worker's whole run; a test that stops it starts it again."""
    with tempfile.TemporaryDirectory(prefix="mm-redis-") as folder, RedisServer(Path(folder)) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for a worker's whole run; a test that stops it starts it again."""
    server = PostgresServer(Path(tempfile.mkdtemp(prefix="mm-pg-")))
    yield server
    server.remove()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy: migrating each anew would be most of the tests' time."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """A migrated database on PostgreSQL, for all tests in turn."""
    url = postgres_server.create("ledger")
    _migrate(url)
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated, empty database of each sort."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("migrated_postgres")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.empty(url)
    return url


@pytest.fixture
def ledger(database_url: str, clock: FrozenClock) -> Iterator[Ledger]:
    """A migrated, empty ledger on SQLite and on PostgreSQL."""
    ledger = connect(database_url, clock)
    yield ledger
    ledger.close()


@pytest.fixture
def sqlite_ledger(migrated_sqlite: Path, tmp_path: Path, clock: FrozenClock) -> Iterator[Ledger]:
    """A migrated, empty ledger where the database makes no difference."""
    shutil.copy(migrated_sqlite, tmp_path / "ledger.db")
    ledger = connect(f"sqlite:///{tmp_path / 'ledger.db'}", clock)
    yield ledger
    ledger.close()


def _migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    database.close()
