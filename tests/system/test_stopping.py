"""`serve` and `demo` as an operator runs them: whatever ends them, no process of theirs may stay.

A worker that nobody knows of goes on submitting usage, with the settings of yesterday.
"""

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.servers import free_ports

pytestmark = pytest.mark.xdist_group("serve")

SECRET = "whsec_stopping"
PATIENCE = 40.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def a_hang_up_is_heard() -> Iterator[None]:
    """Tests that run under nohup have it ignored, and what is ignored is inherited."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True)
def no_redis_of_the_test_before() -> None:
    """`serve` uses the Redis that answers; that of another test ends with it, perhaps a moment later."""
    deadline = time.monotonic() + 10
    while _listens(6379) and time.monotonic() < deadline:
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Command:
    """A command of the product, started as from a shell in `folder`."""

    def __init__(self, folder: Path, out: str, *arguments: str, where: Path | None = None, **settings: str) -> None:
        self.out = folder / out
        with self.out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli", *arguments],
                cwd=where or folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, self.out.read_text()
            assert time.monotonic() < deadline, self.out.read_text()
            time.sleep(0.1)

    def descendants(self) -> set[int]:
        """Every process that it started, and that these did."""
        table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [(int(pid), int(parent)) for pid, parent in (line.split() for line in table.splitlines())]
        family = {self.process.pid}
        while more := {pid for pid, parent in pairs if parent in family} - family:
            family |= more
        return family - {self.process.pid}


def alive(pids: set[int]) -> list[str]:
    table = subprocess.run(["ps", "-eo", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in table.splitlines()]
    return [row[2] for row in rows if int(row[0]) in pids and not row[1].startswith("Z")]


def assert_all_end(pids: set[int]) -> None:
    deadline = time.monotonic() + 45  # gunicorn lets its requests finish for 30 s
    while left := alive(pids):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def serving(folder: Path, port: int, out: str = "out") -> Command:
    return Command(
        folder,
        out,
        "serve",
        PORT=str(port),
        STRIPE_WEBHOOK_SECRETS=SECRET,
        STRIPE_API_KEY="sk_test_stopping1",
        STRIPE_API_BASE="http://127.0.0.1:1",
        SWEEP_INTERVAL="0.5",
    )


def test_serve_leaves_no_process_behind(tmp_path: Path) -> None:
    command = serving(tmp_path, free_ports(1)[0])
    try:
        command.until(lambda: "Ctrl-C stops everything" in command.out.read_text())
        command.until(lambda: len(command.descendants()) >= 4)  # web and its workers, worker, clock
        family = command.descendants()
    finally:
        command.process.terminate()
        ended = command.process.wait(PATIENCE)
    assert ended == 0, command.out.read_text()
    assert_all_end(family)


def test_serve_prints_alerts_and_refuses_a_second_one_on_its_port(tmp_path: Path) -> None:
    """README promises it; a log file that nobody reads alerts nobody."""
    port = free_ports(1)[0]
    command = serving(tmp_path, port)
    try:
        command.until(lambda: "Ctrl-C stops everything" in command.out.read_text())
        told = {
            "id": "evt_1",
            "object": "event",
            "type": "data_management.import_set.failed",
            "livemode": True,
            "created": 1,
            "data": {"object": {"id": "impset_1", "object": "data_management.import_set"}},
        }
        command.until(lambda: answers(port))
        assert post(port, json.dumps(told).encode()).ok
        command.until(lambda: "of the other mode arrived" in command.out.read_text())
        second = serving(tmp_path, port, "second")
        assert second.process.wait(PATIENCE) == 2
        assert second.out.read_text() == f"Error: port {port} is in use - set PORT to another\n"
    finally:
        command.process.terminate()
        ended = command.process.wait(PATIENCE)
    assert ended == 0
    assert "trouble" not in command.out.read_text(), "logs go to files"


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    except (requests.ConnectionError, requests.Timeout):  # while the web's own processes still start
        return False


def post(port: int, body: bytes) -> requests.Response:
    at = int(time.time())
    signed = hmac.new(SECRET.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
    headers = {"Stripe-Signature": f"t={at},v1={signed}"}
    return requests.post(f"http://127.0.0.1:{port}/webhooks", data=body, headers=headers, timeout=10)


def test_the_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    """A terminal that is closed is how most demos end."""
    number = signal.SIGHUP
    command = Command(tmp_path, "out", "demo", "--dir", str(tmp_path / "demo"), where=ROOT)
    try:
        command.until((tmp_path / "demo-logs" / "clock.log").exists)
        family = command.descendants()
        assert len(family) >= 5, "Redis, twin, web, workers, clock"
    finally:
        command.process.send_signal(number)
    assert command.process.wait(PATIENCE) == 128 + number
    assert "stopped; every process is down" in command.out.read_text()
    assert_all_end(family)


def test_a_demo_that_is_stopped_in_its_first_moment_says_so(tmp_path: Path) -> None:
    command = Command(tmp_path, "out", "demo", "--dir", str(tmp_path / "demo"), where=ROOT)
    command.until((tmp_path / "demo-logs").exists)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(PATIENCE) == 130
    assert "stopped" in command.out.read_text()
    assert "Aborted" not in command.out.read_text()
