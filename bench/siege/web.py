"""The web as it is deployed, on loopback: gunicorn, its own Redis, a ledger on SQLite."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from bench.faults.processes import Supervisor
from bench.faults.redis_server import RedisServer
from bench.siege.shots import MAX_BODY, SECRET
from workers.cli.db import migrate
from workers.cli.processes import free_ports

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Web:
    """The running web. `log` is what its processes said."""

    port: int
    pid: int
    database_url: str
    log: Path

    def memory(self) -> float:
        """Return what its largest process holds, in MiB."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (self.pid, *self.processes())]
        return max(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def processes(self) -> frozenset[str]:
        """Return the ids of its worker processes: another one means that one has died."""
        return frozenset(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())

    def healthy_in(self) -> float:
        """Return the seconds that /healthz takes."""
        started = time.monotonic()
        requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=60).raise_for_status()
        return time.monotonic() - started

    def wait(self) -> None:
        """Return when it answers, for a minute at most."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.healthy_in()
            except requests.RequestException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


@contextmanager
def running() -> Iterator[Web]:
    """Run it in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mm-siege-") as name, ExitStack() as stack:
        folder = Path(name)
        url = f"sqlite:///{folder / 'ledger.db'}"
        migrate(url)
        supervisor = Supervisor(folder)
        stack.callback(supervisor.close)
        redis = RedisServer(supervisor)
        stack.callback(redis.close)
        [port] = free_ports(0)
        settings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "STRIPE_WEBHOOK_SECRETS": SECRET,
            "STRIPE_API_KEY": "sk_test_siege1",
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "ARCHIVE_URL": str(folder / "archive"),
            "PORT": str(port),
            "WEBHOOK_MAX_BODY": str(MAX_BODY),
        }
        # A process that is recycled in its turn would look like one that died.
        options = ["-c", "python:webhooks.gunicorn_conf", "--max-requests", "0"]
        supervisor.start("web", [sys.executable, "-m", "gunicorn", *options], settings)
        web = Web(port, supervisor.pids("web")[0], url, folder / "web.log")
        web.wait()
        yield web
