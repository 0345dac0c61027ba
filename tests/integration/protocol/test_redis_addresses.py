"""If these fail, a Redis that is reached by TLS or by Sentinels takes no hint, or keeps it from workers."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.servers import RedisServer, free_ports
from tests.tls import TlsDoor, make_certificate
from workers.cli import worker
from workers.cli.processes import redis_server as redis_program
from workers.cli.worker import PatientWorker, work
from workers.kernel.errors import SettingsUnusable, Transient
from workers.kernel.jobqueue import EVENTS, RqJobQueue
from workers.kernel.redis_address import connect_redis, shown_address

DONE: list[str] = []
PATIENCE = 20.0


@pytest.fixture(autouse=True)
def done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.jobs.process_event", DONE.append)
    DONE.clear()


class Watched:
    """A master and its replica, and a Sentinel that puts the replica in its place as soon as it is gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.master, self.replica, self.sentinel = free_ports(3)
        self.url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel}/usage/2"

    def start(self) -> None:
        quick = ["--save", "", "--dir", str(self._folder), "--repl-diskless-sync-delay", "0"]
        self.first = self._run(["--port", str(self.master), *quick])
        self._run(["--port", str(self.replica), "--replicaof", "127.0.0.1", str(self.master), *quick])
        until(self._follows)
        rules = self._folder / "sentinel.conf"
        rules.write_text(
            f"port {self.sentinel}\nsentinel monitor usage 127.0.0.1 {self.master} 1\n"
            "sentinel down-after-milliseconds usage 300\nsentinel failover-timeout usage 2000\n"
        )
        self._run([str(rules), "--sentinel"])
        until(lambda: len(self._asked(self.sentinel).sentinel_slaves("usage")) == 1)

    def stop(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def _run(self, arguments: list[str]) -> "subprocess.Popen[bytes]":
        program = redis_program()
        assert program is not None
        silent = subprocess.DEVNULL
        self._started.append(subprocess.Popen([program, *arguments], stdout=silent, stderr=silent))
        return self._started[-1]

    def _follows(self) -> bool:
        replication: Any = self._asked(self.replica).info("replication")
        return bool(replication["master_link_status"] == "up")

    def _asked(self, port: int) -> "redis.Redis":
        return redis.Redis(port=port, socket_timeout=1)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if holds():
                return
        except (redis.RedisError, Transient):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def told(queue: RqJobQueue, event_id: str) -> bool:
    queue.enqueue_event(event_id, 0)
    return True


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A Redis behind a Sentinel."""
    servers = Watched(tmp_path)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def by_tls(redis_url: str, redis_server: RedisServer, tmp_path: Path) -> Iterator[str]:
    """The address of an empty Redis behind TLS."""
    certificate, key = make_certificate(tmp_path)
    with TlsDoor(certificate, key, redis_server.socket) as door:
        yield f"rediss://127.0.0.1:{door.port}/0?ssl_ca_certs={certificate}"


def worked_off(url: str) -> list[str]:
    """What a worker does that runs until the queue is empty."""
    work(connect_redis(url), (EVENTS,), job_timeout=60, burst=True)
    return DONE


def test_a_hint_and_its_worker_meet_by_tls(by_tls: str) -> None:
    RqJobQueue(by_tls, job_timeout=60).enqueue_event("evt_1", 0)
    assert worked_off(by_tls) == ["evt_1"]


def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(by_tls: str) -> None:
    with pytest.raises(Transient):
        RqJobQueue(by_tls.partition("?")[0], job_timeout=60).enqueue_event("evt_1", 0)


def test_hints_follow_the_master_to_another_server_and_so_does_the_worker(watched: Watched) -> None:
    queue = RqJobQueue(watched.url, job_timeout=60)
    queue.enqueue_event("evt_before", 0)
    assert worked_off(watched.url) == ["evt_before"]
    watched.first.kill()
    with pytest.raises(Transient):
        queue.ping()
    until(lambda: told(queue, "evt_after"))
    assert worked_off(watched.url) == ["evt_before", "evt_after"]


def test_a_redis_that_hangs_ends_no_thread_of_a_worker(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "FIRST_WAIT", 0)
    heard: Any = PatientWorker([EVENTS], connection=connect_redis(redis_url))
    heard._pubsub_exception_handler(redis.TimeoutError("timed out"), None, None)
    with pytest.raises(KeyError):
        heard._pubsub_exception_handler(KeyError("no outage"), None, None)


@pytest.mark.parametrize(
    "url",
    [
        "http://host/0",
        "redis+sentinel://host:26379",
        "redis+sentinel:///usage/0",
        "redis+sentinel://host:x/usage",
        "http+sentinel://host/usage/0",
    ],
)
def test_what_is_no_address_of_a_redis_is_named_as_the_setting(url: str) -> None:
    with pytest.raises(SettingsUnusable, match="REDIS_URL"):
        connect_redis(url)


def test_no_password_is_shown_with_an_address() -> None:
    url = "rediss+sentinel://me:secret@a,b/usage/0?sentinel_password=secret&ssl_ca_certs=/ca.pem"
    assert shown_address(url) == "rediss+sentinel://***@a,b/usage/0?sentinel_password=***&ssl_ca_certs=/ca.pem"
