"""If these fail, whoever can write to Redis runs code with the worker's keys, or ends it with one job."""

import json
import os
import signal
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs

from workers.cli.worker import work
from workers.kernel.jobqueue import ADVANCE_CASE, PROCESS_EVENT, RqJobQueue
from workers.known_job import KnownJob
from workers.schedule import enqueue_retries

DONE: list[tuple[Any, ...]] = []


def ours(*arguments: Any) -> None:
    """Stand where a job of `workers.jobs` stands."""
    DONE.append(arguments)


@pytest.fixture
def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    for job in ("process_event", "advance_case"):
        monkeypatch.setattr(f"workers.jobs.{job}", ours)
    DONE.clear()
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def queue(redis_url: str) -> RqJobQueue:
    return RqJobQueue(redis_url, job_timeout=60)


def lay(client: "redis.Redis", data: bytes, name: bytes = b"bad-1", **fields: Any) -> None:
    """Lay a job into the queue as one who can write to Redis would."""
    if data:
        job: dict[Any, Any] = {"data": data, **fields}
        client.hset(b"rq:job:" + name, mapping=job)
    client.rpush("rq:queue:events", name)


def call(path: Any, *arguments: Any, instance: Any = None, **named: Any) -> bytes:
    return zlib.compress(json.dumps([path, instance, arguments, named]).encode())


def hostile(witness: Path) -> dict[str, bytes]:
    touch = ["touch", str(witness)]
    return {
        "a command": call("subprocess.getoutput", f"touch {witness}"),
        "a command by keyword": call("subprocess.run", args=touch),
        "a path through our module": call("workers.jobs.bound_contextvars.__init__.__globals__", "x"),
        "another function of ours": call("workers.jobs.context"),
        "a method of an instance": call(PROCESS_EVENT, "evt_1", instance="os.system"),
        "an id that is no text": call(PROCESS_EVENT, ["evt_1"]),
        "an id that is too long": call(PROCESS_EVENT, "e" * 300),
        "arguments that are one text": zlib.compress(json.dumps([PROCESS_EVENT, None, "e", {}]).encode()),
        "too few": call(PROCESS_EVENT),
        "too many": call(ADVANCE_CASE, "case_1", True, "x"),
        "by keyword": call(PROCESS_EVENT, event_id="evt_1"),
        "a path that is a list": call(["subprocess.getoutput"], "id"),
        "no JSON": b"\x80\x04.",
        "JSON that is no job": b'"evt_1"',
        "half a job": zlib.compress(b'["workers.jobs.process_event"'),
        "a bomb": zlib.compress(b" " * 100_000_000),
    }


def test_nothing_but_jobs_of_ours_is_run(client: "redis.Redis", queue: RqJobQueue, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    jobs = hostile(witness)
    for kind, data in jobs.items():
        lay(client, data, name=kind.replace(" ", "-").encode())
    queue.enqueue_event("evt_after", 0)
    with capture_logs() as said:
        work(client, ["events"], job_timeout=60, burst=True)
    assert not witness.exists()
    assert DONE == [("evt_after",)]
    assert [line["event"] for line in said] == ["job_refused"] * len(jobs)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": b"no status"},
        {"created_at": b"\xff"},
        {"origin": b"\xff\xfe"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_job_whose_fields_cannot_be_read_ends_no_worker(
    client: "redis.Redis", queue: RqJobQueue, fields: dict[str, bytes]
) -> None:
    lay(client, call(PROCESS_EVENT, "evt_1"), **fields)
    queue.enqueue_case("case_after", 0)
    with capture_logs() as said:
        work(client, ["events"], job_timeout=60, burst=True)
    assert DONE == [("case_after",)]
    assert [line["event"] for line in said] == ["job_refused"]


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a b", b"", b"a:b", b"list"])
def test_what_is_no_job_at_all_ends_no_worker(client: "redis.Redis", queue: RqJobQueue, name: bytes) -> None:
    client.rpush("rq:job:list", "no hash")
    lay(client, b"", name)
    queue.enqueue_event("evt_after", 0)
    work(client, ["events"], job_timeout=60, burst=True)
    assert DONE == [("evt_after",)]


def test_callbacks_and_webhooks_of_a_job_are_not_read(client: "redis.Redis") -> None:
    lay(
        client,
        call(PROCESS_EVENT, "evt_1"),
        success_callback_name=b"subprocess.getoutput",
        failure_callback_name=b"subprocess.getoutput",
        stopped_callback_name=b"subprocess.getoutput",
        webhooks=b'[{"url": "http://127.0.0.1:1/"}]',
        dependency_ids=b'["evt_0-0"]',
        repeats_left=b"1000",
        repeat_intervals=b"[0]",
    )
    job = KnownJob.fetch("bad-1", connection=client, serializer=JSONSerializer)
    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)
    assert (job.webhooks, job.dependency, job.repeats_left) == ([], None, None)
    work(client, ["events"], job_timeout=60, burst=True)
    assert DONE == [("evt_1",)]


def test_a_refused_job_is_one_that_is_not_there(client: "redis.Redis") -> None:
    lay(client, call("os.getenv", "STRIPE_API_KEY"))
    with pytest.raises(NoSuchJobError):
        KnownJob.fetch("bad-1", connection=client, serializer=JSONSerializer)


def test_how_long_a_job_may_take_is_not_what_stands_in_redis(
    client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six jobs of a second each would have an event given up."""

    def slow(*arguments: Any) -> None:
        time.sleep(1.2)
        ours(*arguments)

    monkeypatch.setattr("workers.jobs.process_event", slow)
    lay(client, call(PROCESS_EVENT, "evt_1"), timeout=b"1")
    work(client, ["events"], job_timeout=60, burst=True)
    assert DONE == [("evt_1",)]


@pytest.mark.parametrize(
    "key", ["rq:workers", "rq:groups", "rq:wip:events", "rq:failed:events", "rq:clean_registries:events"]
)
def test_a_key_of_the_wrong_type_makes_no_worker_spin(client: "redis.Redis", queue: RqJobQueue, key: str) -> None:
    """Thousands of workers were made in a second, without a word."""
    client.set(key, "x")
    queue.enqueue_event("evt_1", 0)
    stop = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stop.start()
    work(client, ["events"], job_timeout=60, burst=False)
    stop.join()
    assert len(list(client.scan_iter("rq:worker:*"))) < 10


def test_a_hash_that_fills_the_memory_is_not_read(client: "redis.Redis", queue: RqJobQueue) -> None:
    lay(client, call(PROCESS_EVENT, "evt_1"), description=b"x" * 50_000_000, meta=b"y" * 1_000_000)
    lay(client, call(PROCESS_EVENT, "evt_2"), name=b"bad-2", origin=b"z" * 1_000_000)
    read = client.info("stats")["total_net_output_bytes"]
    work(client, ["events"], job_timeout=60, burst=True)
    assert DONE == [("evt_1",)]
    assert client.info("stats")["total_net_output_bytes"] - read < 100_000


def test_what_waits_in_redis_for_its_time_comes_back_whatever_stands_beside_it(
    client: "redis.Redis", queue: RqJobQueue
) -> None:
    """One job that cannot be read kept all retries, and a bomb filled the clock's memory."""
    for place, (name, data) in enumerate(
        {"bomb": zlib.compress(b" " * 100_000_000), "bad": b"", "none": b"x"}.items()
    ):
        client.hset(f"rq:job:{name}", "data" if data else "status", data or b"zzz")
        client.zadd("rq:scheduled:events", {name: place})
    client.zadd("rq:scheduled:events", {b"\xff": 3})
    client.zadd("rq:scheduled:events", {"not there": 4})
    queue.enqueue_event("evt_1", 0)
    client.lrem("rq:queue:events", 1, "evt_1-0")
    client.zadd("rq:scheduled:events", {"evt_1-0": 5})
    enqueue_retries(client)
    assert client.lrange("rq:queue:events", 0, -1) == [b"evt_1-0"]
    assert client.zcard("rq:scheduled:events") == 0
