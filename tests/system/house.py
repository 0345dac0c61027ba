"""The whole house as processes, as an operator runs it: Redis, the twin, gunicorn, worker, clock.

Nothing of the product is imported here: what is proved, is proved from outside.
"""

import contextlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.servers import RedisServer, free_ports

SECRET = "whsec_system_snapshot"
THIN_SECRET = "whsec_system_thin"
LISTEN_SECRET = "whsec_system_listen"
KEY = "sk_test_system0001"
PATIENCE = 90.0
TIMEOUT = 10.0


class House:
    """A running service. `settings` are environment variables that win over the house's own."""

    def __init__(self, folder: Path, redis: RedisServer, **settings: str) -> None:
        self.folder, self._redis, self._settings = folder, redis, settings
        self.bucket, self.sources = folder / "bucket", folder / "sources"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.web, self.twin = (f"http://127.0.0.1:{port}" for port in free_ports(2))

    def __enter__(self) -> Self:
        for place in (self.bucket, self.sources):
            place.mkdir(parents=True)
        assert self.metermend("db", "upgrade").returncode == 0
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> None:
        self.start("twin", *self._twin_command())
        self.start("web", "gunicorn", "-c", "python:webhooks.gunicorn_conf", "-b", self.web.removeprefix("http://"))
        self.start("worker", "workers.cli", "worker")
        self.start("clock", "workers.cli", "clock")
        self.until(lambda: self._answers(f"{self.twin}/_control/state") and self._answers(f"{self.web}/healthz"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for name in list(self._processes):
            self.kill(name, signal.SIGTERM)

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start a module as a process; its output goes to a file of the house."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process and its children, and wait until it has gone."""
        process = self._processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def metermend(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the product and return what it said."""
        return subprocess.run(
            [sys.executable, "-m", "workers.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        bases = ("STRIPE_API_BASE", "STRIPE_FILES_BASE", "STRIPE_METER_EVENTS_BASE")
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            **dict.fromkeys(bases, self.twin),
            "STRIPE_API_KEY": KEY,
            "STRIPE_WEBHOOK_SECRETS": f"{SECRET},{THIN_SECRET},{LISTEN_SECRET}",
            "REDIS_URL": self._redis.url,
            "DATABASE_URL": f"sqlite:///{self.folder}/ledger.db",
            "ARCHIVE_URL": str(self.folder / "archive"),
            "SCRATCH_DIR": str(self.folder / "scratch"),
            "USAGE_SOURCES": str(self.sources),
            "SUBMIT_TO": f"file://{self.bucket}",
            "SUBMIT_PACE_SECONDS": "0",
            "CONFIRMATION_WINDOW": "2",
            "SWEEP_INTERVAL": "0.5",
            "LEASE_SECONDS": "5",
            "WEB_CONCURRENCY": "1",
            **self._settings,
        }

    def control(self, path: str, order: dict[str, Any]) -> Any:
        """Steer the twin."""
        answer = requests.post(f"{self.twin}/_control/{path}", json=order, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.json()

    def billed(self) -> dict[tuple[str, str], str]:
        """What the twin bills: (event name, customer) -> quantity."""
        lines = requests.get(f"{self.twin}/_control/billed", timeout=TIMEOUT).json()["billed"]
        return {(line["event_name"], line["customer"]): line["total"] for line in lines}

    def upload(self, name: str, text: str) -> None:
        """Upload a usage file as its sender does: a copy for himself, then whole into the connector's folder."""
        (self.sources / name).write_text(text)
        part = self.bucket / f".{name}"
        part.write_text(text)
        part.rename(self.bucket / name)

    def post(self, body: bytes, *, secret: str = SECRET, age: int = 0, **options: Any) -> requests.Response:
        """Post a body to the webhook, signed as of `age` seconds ago."""
        timestamp = int(time.time()) - age
        signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
        headers = {"Stripe-Signature": f"t={timestamp},v1={signed}", **options.pop("headers", {})}
        return requests.post(f"{self.web}/webhooks", data=body, headers=headers, timeout=TIMEOUT, **options)

    def records(self) -> Counter[str]:
        """How many refused records stand in each bucket, as the web tells it: bucket -> records."""
        found = re.findall(r'^metermend_records\{bucket="(\w+)"\} (\S+)$', self.metrics(), re.MULTILINE)
        return Counter({bucket: int(float(number)) for bucket, number in found})

    def come_to_rest(self) -> None:
        """Wait until no record is on its way any more."""
        self.until(lambda: _at_rest(self.records()), "rest")

    def metrics(self) -> str:
        """What the web tells a scraper."""
        return requests.get(f"{self.web}/metrics", timeout=TIMEOUT).text

    def proof(self) -> dict[str, Any]:
        """What `metermend prove` says of the whole ledger."""
        proof = self.metermend("prove", "--json")
        assert proof.returncode == 0, proof.stdout + proof.stderr
        return dict(json.loads(proof.stdout))

    def until(self, holds: Callable[[], object], what: str = "it") -> None:
        """Wait until something holds; the processes' last lines are shown when it does not."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come about:\n{self._last_words()}")
            time.sleep(0.1)

    def _last_words(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def _twin_command(self) -> list[str]:
        places = ["--port", self.twin.rsplit(":", 1)[1], "--bucket", f"file://{self.bucket}"]
        hooks = [f"snapshot={self.web}/webhooks,{SECRET}", f"thin={self.web}/webhooks,{THIN_SECRET}"]
        settings = (
            "poll_seconds=0.2", "window_seconds=1", "retry_seconds=0.5", f"listen_secret={LISTEN_SECRET}"
        )  # fmt: skip
        flags = [("--destination", hook) for hook in hooks] + [("--set", one) for one in settings]
        return ["fixtures.twin", *places, *(part for flag in flags for part in flag)]

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            return requests.get(url, timeout=1).ok
        except requests.RequestException:
            return False


def _at_rest(records: Counter[str]) -> bool:
    return records["confirmed"] + records["quarantined"] + records["written_off"] == records["failed"]
