"""If these fail, one restart of Redis ends every worker, and usage waits until somebody notices."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import RedisServer
from workers.kernel.jobqueue import RqJobQueue

PATIENCE = 40.0


@pytest.fixture
def own_redis(short_folder: str) -> Iterator[RedisServer]:
    with RedisServer(Path(short_folder)) as server:
        yield server


class Worker:
    """`metermend worker` as a process, and what it has said."""

    def __init__(self, folder: Path, migrated: Path, redis: RedisServer) -> None:
        (folder / "ledger.db").write_bytes(migrated.read_bytes())
        self._log = folder / "worker.log"
        settings = {
            "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
            "REDIS_URL": redis.url,
            "STRIPE_API_KEY": "sk_test_made_up",
            "STRIPE_API_BASE": "http://127.0.0.1:1",
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli", "worker"],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **settings},
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def worker(tmp_path: Path, migrated_sqlite: Path, own_redis: RedisServer) -> Iterator[Worker]:
    worker = Worker(tmp_path, migrated_sqlite, own_redis)
    yield worker
    worker.process.kill()
    worker.process.wait()


def hint(redis: RedisServer, worker: Worker, event_id: str) -> None:
    """Hint at an event that is not there, and wait until the worker has taken it."""
    queue = RqJobQueue(redis.url, job_timeout=60)
    queue.enqueue_event(event_id, 0)
    worker.until(lambda: not queue.waiting())


def test_a_worker_outlasts_a_redis_that_restarts_empty_and_says_so_once(
    worker: Worker, own_redis: RedisServer
) -> None:
    hint(own_redis, worker, "evt_before")
    own_redis.stop()
    worker.until(lambda: "redis_away" in worker.said)
    own_redis.start()
    hint(own_redis, worker, "evt_after")
    assert worker.said.count("redis_away") == 1
    assert worker.said.count("redis_back") == 1
    assert "Traceback" not in worker.said
    assert worker.stop() == 0


def test_a_worker_can_be_stopped_while_redis_is_away(worker: Worker, own_redis: RedisServer) -> None:
    """Else it is killed, perhaps in the middle of a submission."""
    hint(own_redis, worker, "evt_before")
    own_redis.stop()
    worker.until(lambda: "redis_away" in worker.said)
    assert worker.stop() == 0
    assert "Traceback" not in worker.said
