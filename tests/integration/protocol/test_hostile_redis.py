"""If these fail, whoever can write to Redis runs code with the worker's keys, or ends it with one job."""

import json
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
        client.hset("rq:job:bad-1", mapping=job)
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
        "too few": call(PROCESS_EVENT),
        "too many": call(ADVANCE_CASE, "case_1", True, "x"),
        "by keyword": call(PROCESS_EVENT, event_id="evt_1"),
        "a path that is a list": call(["subprocess.getoutput"], "id"),
        "no JSON": b"\x80\x04.",
        "JSON that is no job": b'"evt_1"',
        "half a job": zlib.compress(b'["workers.jobs.process_event"'),
        "a bomb": zlib.compress(b" " * 100_000_000),
    }


@pytest.mark.parametrize("kind", sorted(hostile(Path())))
def test_nothing_but_jobs_of_ours_is_run(
    client: "redis.Redis", queue: RqJobQueue, tmp_path: Path, kind: str
) -> None:
    witness = tmp_path / "ran"
    lay(client, hostile(witness)[kind])
    queue.enqueue_event("evt_after", 0)
    with capture_logs() as said:
        work(client, ["events"], burst=True)
    assert not witness.exists()
    assert DONE == [("evt_after",)]
    assert [line["event"] for line in said] == ["job_refused"]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": b"no status"},
        {"created_at": b"\xff"},
        {"timeout": b"ever"},
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
        work(client, ["events"], burst=True)
    assert DONE == [("case_after",)]
    assert [line["event"] for line in said] == ["job_refused"]


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a b", b"", b"a:b", b"list"])
def test_what_is_no_job_at_all_ends_no_worker(client: "redis.Redis", queue: RqJobQueue, name: bytes) -> None:
    client.rpush("rq:job:list", "no hash")
    lay(client, b"", name)
    queue.enqueue_event("evt_after", 0)
    work(client, ["events"], burst=True)
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
    work(client, ["events"], burst=True)
    assert DONE == [("evt_1",)]


def test_a_refused_job_is_one_that_is_not_there(client: "redis.Redis") -> None:
    lay(client, call("os.getenv", "STRIPE_API_KEY"))
    with pytest.raises(NoSuchJobError):
        KnownJob.fetch("bad-1", connection=client, serializer=JSONSerializer)
