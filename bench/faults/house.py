"""The running service on the twin, as processes: Redis, the ledger's database, twin, web, workers, clock."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import requests

from bench.faults.databases import LedgerDatabase, Postgres, SqliteFile
from bench.faults.processes import Supervisor
from bench.faults.redis_server import RedisServer
from workers.cli.processes import free_ports, redis_server
from workers.kernel.ledger import connect
from workers.kernel.ledger.schema import upgrade

SECRETS: Final = {"snapshot": "whsec_faults_snapshot", "thin": "whsec_faults_thin"}
KEY: Final = "sk_test_faults0001"
BASES: Final = ("STRIPE_API_BASE", "STRIPE_FILES_BASE", "STRIPE_METER_EVENTS_BASE")
TIMEOUT: Final = 60.0
START_SECONDS: Final = 60.0
TWIN_SETTINGS: Final[Mapping[str, object]] = {
    "poll_seconds": 0.3,
    "window_seconds": 1,
    "sample_cap": 10,
    "retry_seconds": 0.5,
}
"""Stripe polls every five minutes and validates in windows of ten seconds; faults are to meet more than that.

Of each code it names ten at most, as Stripe does: the others are found behind the count."""
SETTINGS: Final = {
    "SUBMIT_PACE_SECONDS": "0",
    "CONFIRMATION_WINDOW": "3",
    "SWEEP_INTERVAL": "0.5",
    "TOTALS_DELAY": "5",
    "LEASE_SECONDS": "10",
    "STRIPE_TIMEOUT": "3",
    "WEB_CONCURRENCY": "1",
    "LOG_FORMAT": "json",
}


@dataclass(frozen=True)
class Plan:
    """How a house is built.

    `ahead` is by how many seconds the clock of a process is ahead of the twin's; `part_records` how many records
    are planned at a time, where that is not the product's own size.
    """

    ledger: str = "sqlite"
    target: str = "files"
    workers: int = 2
    settings: Mapping[str, str] = field(default_factory=dict)
    twin: Mapping[str, object] = field(default_factory=dict)
    ahead: Mapping[str, float] = field(default_factory=dict)
    part_records: int | None = None
    broken: str | None = None


class House:
    """A service that runs until it is closed; what ends is started again."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.bucket, self.sources, self.archive = folder / "bucket", folder / "sources", folder / "archive"
        for place in (self.bucket, self.sources, self.archive):
            place.mkdir(parents=True)
        self.supervisor = Supervisor(folder / "logs")
        self.web, self.twin = self._addresses()
        self.database = self._open_database()
        self.redis = self._open_redis()
        self.ledger = connect(self.database.url)
        self.http = requests.Session()
        self.mounted: list[Path] = []

    def __enter__(self) -> Self:
        upgrade(self.ledger.database)
        self._open()
        self.until(lambda: self._answers(f"{self.twin}/_control/state"), START_SECONDS, "the twin to answer")
        self.until(lambda: self._answers(f"{self.web}/healthz"), START_SECONDS, "the web to answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.close()
        self.http.close()
        self.supervisor.close()
        self.redis.close()
        self.database.close()
        for place in self.mounted:
            subprocess.run(["umount", str(place)], check=True)

    def upload(self, name: str, text: str) -> None:
        """Upload a usage file as its sender does: a copy of his own first, then into the connector's folder."""
        for folder in (self.sources, self.bucket):
            part = folder / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            part.rename(folder / name)

    def uploaded(self) -> int:
        """Return how many files lie in the connector's folder, the sender's and ours."""
        return sum(1 for _ in self.bucket.glob("*.csv"))

    def set_ahead(self, seconds: float) -> None:
        """Start web, workers and clock anew, with clocks that are `seconds` ahead."""
        for name in self.supervisor.names(""):
            if name not in ("twin", "redis"):
                self.supervisor.down(name)
                self.supervisor.up(name, self.environment | {"FAULTS_AHEAD": str(seconds)})

    def control(self, path: str, order: Mapping[str, Any]) -> Any:
        """Steer the twin."""
        answer = self.http.post(f"{self.twin}/_control/{path}", json=dict(order), timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.json()

    def fail_next(self, mode: str, path: str, **fields: Any) -> None:
        """Let coming calls of the twin's API fail."""
        self.control("fail_next", {"rules": [{"mode": mode, "path": path, **fields}]})

    def fail_no_more(self) -> None:
        """Forget the failures that no call has met yet."""
        self.http.delete(f"{self.twin}/_control/fail_next", timeout=TIMEOUT).raise_for_status()

    def state(self) -> dict[str, Any]:
        """Return what the twin knows of itself."""
        return dict(self._get("state").json())

    def billed(self) -> list[dict[str, Any]]:
        """Return what the twin bills: event name, customer, total, records."""
        return list(self._get("billed").json()["billed"])

    def accepted(self) -> Iterator[dict[str, Any]]:
        """Yield every record that the twin took and still counts."""
        with self._get("accepted", stream=True) as answer:
            yield from map(json.loads, answer.iter_lines())

    def metermend(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the product."""
        command = [sys.executable, "-m", "workers.cli", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=900, check=False
        )

    def until(self, holds: Callable[[], object], seconds: float, what: str, *, every: float = 0.05) -> None:
        """Wait until something holds. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:.0f} s for {what}; logs are in {self.folder}/logs")
            time.sleep(every)

    @property
    def environment(self) -> dict[str, str]:
        """The product's settings, as environment variables."""
        submit_to = f"file://{self.bucket}" if self.plan.target == "files" else "meter-events"
        return {
            **self._plain_env(),
            **SETTINGS,
            **dict.fromkeys(BASES, self.twin),
            "STRIPE_API_KEY": KEY,
            "STRIPE_WEBHOOK_SECRETS": ",".join(SECRETS.values()),
            "REDIS_URL": self.redis.url,
            "DATABASE_URL": self.database.url,
            "ARCHIVE_URL": str(self.archive),
            "SCRATCH_DIR": str(self.folder / "scratch"),
            "USAGE_SOURCES": str(self.sources),
            "SUBMIT_TO": submit_to,
            "FAULTS_PART_RECORDS": str(self.plan.part_records or ""),
            **self.plan.settings,
        }

    def _plain_env(self) -> dict[str, str]:
        program = redis_server()
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": f"{Path(program).parent}:{path}" if program else path, "PYTHONPATH": str(Path.cwd())}

    def _addresses(self) -> tuple[str, str]:
        """Return where web and twin are to be."""
        web, twin = (f"http://127.0.0.1:{port}" for port in free_ports(0, 0))
        return web, twin

    def _open_database(self) -> LedgerDatabase:
        return Postgres() if self.plan.ledger == "postgres" else SqliteFile(self.folder)

    def _open_redis(self) -> RedisServer:
        return RedisServer(self.supervisor)

    def _open(self) -> None:
        """Start what the house consists of."""
        self.supervisor.start("twin", [sys.executable, "-m", *self._twin_command()], self._plain_env())
        self._start("web", "web")
        for number in range(1, self.plan.workers + 1):
            self._start(f"worker-{number}", "worker")
        self._start("clock", "clock")

    def _start(self, name: str, role: str) -> None:
        env = self.environment | {"FAULTS_AHEAD": str(self.plan.ahead.get(name, 0))}
        broken = ["--broken", self.plan.broken] if self.plan.broken and role == "worker" else []
        port = ["-b", self.web.removeprefix("http://")] if role == "web" else []
        self.supervisor.start(name, [sys.executable, "-m", "bench.faults.launch", role, *broken, *port], env)

    def _twin_command(self) -> list[str]:
        places = ["--port", self.twin.rsplit(":", 1)[1], "--bucket", f"file://{self.bucket}"]
        hooks = [f"--destination={kind}={self.web}/webhooks,{secret}" for kind, secret in SECRETS.items()]
        settings = [f"--set={name}={value}" for name, value in {**TWIN_SETTINGS, **self.plan.twin}.items()]
        return ["fixtures.twin", *places, *hooks, *settings]

    def _get(self, path: str, *, stream: bool = False) -> requests.Response:
        answer = self.http.get(f"{self.twin}/_control/{path}", timeout=TIMEOUT, stream=stream)
        answer.raise_for_status()
        return answer

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            return requests.get(url, timeout=1).ok
        except requests.RequestException:
            return False
