"""The web as it is deployed, on loopback: gunicorn with two processes, its own Redis, a ledger on SQLite."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from bench.siege.shots import MAX_BODY, SECRET
from workers.cli.processes import free_ports, redis_command
from workers.kernel.ledger import connect
from workers.kernel.ledger.schema import upgrade

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
        kids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in [str(self.pid), *kids]]
        return max(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def processes(self) -> frozenset[str]:
        """Return the ids of its worker processes: another one means that one has died."""
        return frozenset(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())

    def healthy_in(self) -> float:
        """Return the seconds that /healthz takes."""
        started = time.monotonic()
        requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=60).raise_for_status()
        return time.monotonic() - started


@contextmanager
def running() -> Iterator[Web]:
    """Run it in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mm-siege-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'ledger.db'}"
        ledger = connect(url)
        upgrade(ledger.database)
        ledger.close()
        port, redis_port = free_ports(0, 0)
        settings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "STRIPE_WEBHOOK_SECRETS": SECRET,
            "STRIPE_API_KEY": "sk_test_siege1",
            "DATABASE_URL": url,
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "ARCHIVE_URL": str(folder / "archive"),
            "PORT": str(port),
            "WEBHOOK_MAX_BODY": str(MAX_BODY),
        }
        log = folder / "web.log"
        with log.open("wb") as said, _process(redis_command(redis_port, folder / "redis"), {}, subprocess.DEVNULL):
            command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "webhooks" / "gunicorn.conf.py")]
            with _process(command, settings, said) as pid:
                web = Web(port, pid, url, log)
                _wait(web)
                yield web


@contextmanager
def _process(command: list[str], settings: dict[str, str], log: object) -> Iterator[int]:
    process = subprocess.Popen(command, env=settings or None, stdout=log, stderr=log)  # type: ignore[call-overload]
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(web: Web) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            web.healthy_in()
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
