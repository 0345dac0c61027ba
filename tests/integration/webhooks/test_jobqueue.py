"""If these fail, a stored event waits for a worker that was never told, or is told of without end."""

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.recording import RecordingJobQueue
from tests.servers import RedisServer
from workers.kernel import jobqueue
from workers.kernel.errors import SettingsUnusable, Transient
from workers.kernel.jobqueue import (
    CROWDED,
    EVENTS,
    FAILED_JOB_SECONDS,
    FILES,
    LARGE_TIMES,
    PROCESS_EVENT,
    JobQueue,
    RqJobQueue,
    job_id,
)


class Observed(Protocol):
    """A job queue with the means to see what stands in it and to take it away."""

    queue: JobQueue

    def waiting(self) -> list[str]: ...
    def go_away(self) -> None: ...


class OnRedis:
    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder)
        self.server.start()
        self.queue: JobQueue = RqJobQueue(self.server.url, job_timeout=60)

    def waiting(self) -> list[str]:
        with redis.Redis.from_url(self.server.url) as client:
            return [
                f"{name}:{name_of_job.decode()}"
                for name in (EVENTS, FILES)
                for name_of_job in client.lrange(f"rq:queue:{name}", 0, -1)
            ]

    def go_away(self) -> None:
        self.server.stop()


class InMemory:
    def __init__(self) -> None:
        self.queue: JobQueue = RecordingJobQueue()

    def waiting(self) -> list[str]:
        assert isinstance(self.queue, RecordingJobQueue)
        events = [f"events:{job_id(*event)}" for event in self.queue.events]
        events += [f"files:{job_id(*event)}" for event in self.queue.large_events]
        cases = [
            f"files:{job_id(f'{case_id}-large', version)}" if large else f"events:{job_id(case_id, version)}"
            for case_id, version, large in self.queue.cases
        ]
        return sorted(events + cases, key=lambda name: name.startswith("files"))

    def go_away(self) -> None:
        assert isinstance(self.queue, RecordingJobQueue)
        self.queue.away = True


@pytest.fixture(params=["rq", "recording"])
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    if request.param == "recording":
        yield InMemory()
        return
    on_redis = OnRedis(Path(request.getfixturevalue("short_folder")))
    yield on_redis
    on_redis.server.stop()


def test_what_is_enqueued_waits_in_its_queue_in_order(observed: Observed) -> None:
    observed.queue.enqueue_event("evt_1", 0)
    observed.queue.enqueue_event("evt_2", 3)
    observed.queue.enqueue_case("case_1", 7)
    observed.queue.enqueue_case("case_1", 8, large=True)
    assert observed.waiting() == ["events:evt_1-0", "events:evt_2-3", "events:case_1-7", "files:case_1-large-8"]


def test_the_same_attempt_waits_once(observed: Observed) -> None:
    for _ in range(3):
        observed.queue.enqueue_event("evt_1", 0)
        observed.queue.enqueue_case("case_1", 7)
    observed.queue.enqueue_event("evt_1", 1)
    assert sorted(observed.waiting()) == ["events:case_1-7", "events:evt_1-0", "events:evt_1-1"]


def test_new_events_are_enqueued_all_at_once_as_one_by_one(observed: Observed) -> None:
    observed.queue.enqueue_new(["evt_1", "evt 2"])
    observed.queue.enqueue_new(["evt_3"], large=True)
    waiting = observed.waiting()
    assert waiting == [f"events:{job_id('evt_1', 0)}", f"events:{job_id('evt 2', 0)}", "files:evt_3-0"]
    observed.queue.enqueue_event("evt_1", 0)
    assert observed.waiting() == waiting


def test_a_queue_that_was_full_and_is_empty_again_takes_all_new_events(redis_url: str) -> None:
    """If this fails, events wait for the sweeper although workers have nothing to do."""
    queue = RqJobQueue(redis_url, job_timeout=60)
    for already in (CROWDED - 1, CROWDED):
        queue.enqueue_new([f"evt_{already}_{number}" for number in range(already)])
        with redis.Redis.from_url(redis_url) as client:
            client.delete("rq:queue:events")
        queue.enqueue_new([f"evt_after_{already}_{number}" for number in range(5)])
        assert queue.waiting() == 5
        queue.enqueue_new([f"evt_more_{number}" for number in range(CROWDED)])
        assert queue.waiting() == CROWDED


def test_an_id_that_rq_would_not_take_is_taken(observed: Observed) -> None:
    observed.queue.enqueue_event("evt 1/größe:2", 0)
    assert len(observed.waiting()) == 1


def test_a_queue_that_is_away_says_so(observed: Observed) -> None:
    observed.queue.ping()
    observed.go_away()
    with pytest.raises(Transient):
        observed.queue.ping()
    with pytest.raises(Transient):
        observed.queue.enqueue_event("evt_1", 0)
    with pytest.raises(Transient):
        observed.queue.enqueue_case("case_1", 1)


def test_the_message_is_a_path_and_an_id_in_json(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "workers.jobs", raising=False)
    queue = RqJobQueue(redis_url, job_timeout=60)
    queue.enqueue_event("evt_1", 0)
    queue.enqueue_new(["evt_2"])
    with redis.Redis.from_url(redis_url) as client:
        for event_id in ("evt_1", "evt_2"):
            job = Job.fetch(f"{event_id}-0", connection=client, serializer=JSONSerializer)
            assert (job.func_name, job.args, job.kwargs, job.timeout) == (PROCESS_EVENT, [event_id], {}, 60)
            assert (job.result_ttl, job.failure_ttl, job.origin) == (0, FAILED_JOB_SECONDS, EVENTS)
    assert "workers.jobs" not in sys.modules
    assert json.loads(json.dumps(job.args)) == ["evt_2"]


def test_a_large_case_has_a_job_of_its_own_that_may_run_longer(redis_url: str) -> None:
    """The small job leaves the case to it while it is itself still running, under the case's id and version."""
    queue = RqJobQueue(redis_url, job_timeout=60)
    queue.enqueue_case("case_1", 7)
    queue.enqueue_case("case_1", 7, large=True)
    with redis.Redis.from_url(redis_url) as client:
        small, large = Job.fetch_many(["case_1-7", "case_1-large-7"], client, serializer=JSONSerializer)
    assert small is not None
    assert large is not None
    assert (small.origin, small.args, small.timeout) == (EVENTS, ["case_1"], 60)
    assert (large.origin, large.args, large.timeout) == (FILES, ["case_1", True], 60 * LARGE_TIMES)


def test_a_hint_that_a_dying_worker_took_is_given_again(redis_url: str) -> None:
    queue = RqJobQueue(redis_url, job_timeout=60)
    queue.enqueue_event("evt_1", 0)
    with redis.Redis.from_url(redis_url) as client:
        assert client.lpop("rq:queue:events") == b"evt_1-0"
        queue.enqueue_event("evt_1", 0)
        assert client.lrange("rq:queue:events", 0, -1) == [b"evt_1-0"]


def test_a_hint_whose_job_failed_is_given_again(redis_url: str) -> None:
    queue = RqJobQueue(redis_url, job_timeout=60)
    queue.enqueue_case("case_of_no_module", 1)
    with redis.Redis.from_url(redis_url) as client:
        Queue("events", connection=client, serializer=JSONSerializer).enqueue(
            "builtins.int", "no number", job_id="evt_1-0"
        )
        client.lrem("rq:queue:events", 1, "case_of_no_module-1")
        worker = SimpleWorker(["events"], connection=client, serializer=JSONSerializer)
        worker.log.disabled = True
        worker.work(burst=True, logging_level="CRITICAL")
        assert Job.fetch("evt_1-0", connection=client, serializer=JSONSerializer).is_failed
        queue.enqueue_event("evt_1", 0)
        assert client.lrange("rq:queue:events", 0, -1) == [b"evt_1-0"]


def test_a_redis_that_came_back_empty_serves_again(short_folder: str) -> None:
    with RedisServer(Path(short_folder)) as server:
        queue = RqJobQueue(server.url, job_timeout=60)
        queue.enqueue_event("evt_1", 0)
        server.stop()
        with pytest.raises(Transient):
            queue.enqueue_event("evt_2", 0)
        server.start()
        queue.enqueue_event("evt_2", 0)


def test_a_silent_redis_holds_the_web_up_for_no_more_than_a_second_or_two() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queue = RqJobQueue(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", job_timeout=60)
        started = time.monotonic()
        with pytest.raises(Transient):
            queue.enqueue_event("evt_1", 0)
        assert time.monotonic() - started < 3


def test_an_address_of_no_redis_is_named_as_a_setting() -> None:
    with pytest.raises(SettingsUnusable, match="REDIS_URL"):
        RqJobQueue("http://localhost", job_timeout=60)


def test_a_silent_redis_is_waited_for_once_and_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each post waited a second for it, and 32 connections brought the web to a stand."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queue = RqJobQueue(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", job_timeout=60)
        with pytest.raises(Transient, match="does not answer"):
            queue.enqueue_event("evt_1", 0)
        started = time.monotonic()
        for number in range(200):
            with pytest.raises(Transient, match="a moment ago"):
                queue.enqueue_event(f"evt_{number}", 0)
        assert time.monotonic() - started < 1
        later = time.monotonic() + jobqueue.LEFT_ALONE_SECONDS
        monkeypatch.setattr("workers.kernel.jobqueue.time.monotonic", lambda: later)
        with pytest.raises(Transient, match="does not answer"):
            queue.enqueue_event("evt_1", 0)
