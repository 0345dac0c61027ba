"""If these fail, a deployment that stops a worker waits for one that never ends, and kills it in mid-submission."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from rq.job import Job
from rq.suspension import suspend
from rq.worker import SimpleWorker

from workers.cli.worker import PatientWorker, work
from workers.kernel.jobqueue import RqJobQueue

DONE: list[str] = []
pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    """A Redis with one job in it."""
    monkeypatch.setattr("workers.jobs.process_event", DONE.append)
    DONE.clear()
    RqJobQueue(redis_url, job_timeout=60).enqueue_event("evt_1", 0)
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Leave the signals of the process as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stopped_before(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return `step` with a SIGTERM before it."""

    def wrapped(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments, **named)

    return wrapped


@pytest.mark.parametrize(
    ("owner", "name", "done"),
    [
        (SimpleWorker, "register_birth", []),
        (SimpleWorker, "subscribe", []),
        (PatientWorker, "check_for_suspension", []),
        (PatientWorker, "await_redis", ["evt_1"]),
        (Job, "restore", ["evt_1"]),
        (SimpleWorker, "perform_job", ["evt_1"]),
        (SimpleWorker, "teardown", []),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_stop_is_kept_wherever_it_finds_the_worker(
    client: "redis.Redis", monkeypatch: pytest.MonkeyPatch, owner: type, name: str, done: list[str]
) -> None:
    """And the job that it had taken is done, not dropped."""
    monkeypatch.setattr(owner, name, stopped_before(getattr(owner, name)))
    if name == "teardown":
        monkeypatch.setattr(PatientWorker, "dequeue_job_and_maintain_ttl", lambda *_: None)
    work(client, ["events"], job_timeout=60, burst=False)
    assert done == DONE


def test_a_stop_between_two_workers_is_kept(client: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that Redis left is followed by a new one, which had not heard."""
    monkeypatch.setattr(SimpleWorker, "register_birth", stopped_before(_broken_off))
    work(client, ["events"], job_timeout=60, burst=False)
    assert DONE == []


def test_a_suspended_worker_can_be_stopped(client: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    suspend(client)
    monkeypatch.setattr("rq.worker.base.is_suspended", stopped_before(lambda *_: True))
    work(client, ["events"], job_timeout=60, burst=False)
    assert DONE == []


def test_whoever_asks_again_does_not_wait_for_the_job(
    client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(_: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        DONE.append("not ended by the first two, which are one wish")
        monkeypatch.setattr("workers.cli.stop_request.ONE_WISH", -1.0)
        os.kill(os.getpid(), signal.SIGTERM)
        DONE.append("not ended at all")

    monkeypatch.setattr("workers.jobs.process_event", endless)
    work(client, ["events"], job_timeout=60, burst=False)
    assert DONE == ["not ended by the first two, which are one wish"]


def _broken_off(_: Any) -> None:
    raise redis.exceptions.ConnectionError("Redis left")
