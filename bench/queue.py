"""How fast four workers drain events of one record each, on PostgreSQL, beside RQ's own pace with an empty job.

Each event tells of a file that Stripe refused whole, so a worker fetches it, plans its record and sends it. The
twin answers in the place of Stripe; workers and twin share the machine, as do the workers of the empty job.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from redis import Redis
from rq import Queue, Worker

from bench.company import company, settings_of
from bench.faults.databases import Postgres
from bench.faults.processes import Supervisor
from bench.faults.redis_server import RedisServer
from fixtures.twin import Twin

WORKERS: Final = 4
EVENTS: Final = 400
FULL_EVENTS: Final = 10_000
EMPTY_QUEUE: Final = "empty"
EMPTY_JOB: Final = "time.monotonic"
REFUSED: Final = "data_management.import_set.failed"
PATIENCE: Final = 3600.0
FILE: Final = "Identifier,Timestamp,Event Name,Customer ID,Value\nuse-{number},{at},api_requests,cus_1,1\n"


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Print the medians of the rounds and return them: events and empty jobs a second, and their ratio."""
    events = FULL_EVENTS if full else EVENTS
    found = [_round(events) for _ in range(1 if full else rounds)]
    figures = {name: median(one[name] for one in found) for name in found[0]}
    if not quiet:
        print(f"{events} events of one record, {WORKERS} workers, PostgreSQL: {figures['events']:.1f} a second")
        print(f"RQ with an empty job: {figures['empty']:.0f} a second; ratio 1:{1 / figures['ratio']:.0f}")
    return figures


def _round(events: int) -> dict[str, float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="mm-queue-")))
        supervisor = Supervisor(folder / "logs")
        stack.callback(supervisor.close)
        redis = RedisServer(supervisor)
        postgres = Postgres()
        stack.callback(postgres.close)
        empty = _empty_jobs(redis.url, events)
        ours = _events(folder, redis.url, postgres.url, events)
    return {"events": ours, "empty": empty, "ratio": ours / empty}


def _empty_jobs(redis_url: str, jobs: int) -> float:
    command = ["-m", "rq.cli", "worker", "-q", "-w", "rq.SimpleWorker", "--url", redis_url, EMPTY_QUEUE]
    with Redis.from_url(redis_url) as redis, _workers(redis, command, os.environ):
        queue = Queue(EMPTY_QUEUE, connection=redis)
        begun = time.monotonic()
        for _ in range(jobs):
            queue.enqueue(EMPTY_JOB, result_ttl=0)
        _until(lambda: queue.count == 0 and queue.started_job_registry.count == 0)
        return jobs / (time.monotonic() - begun)


def _events(folder: Path, redis_url: str, database_url: str, events: int) -> float:
    with company(folder, "api_requests") as twin:
        settings = settings_of(folder, twin.url, REDIS_URL=redis_url, DATABASE_URL=database_url)
        environment = {**os.environ, **settings}
        upgrade = [sys.executable, "-m", "workers.cli", "db", "upgrade"]
        subprocess.run(upgrade, env=environment, check=True, stdout=subprocess.DEVNULL)
        delivered = _refused_files(twin, folder, events)
        with Redis.from_url(redis_url) as redis, _workers(redis, ["-m", "workers.cli", "worker"], environment):
            return events / _drained_in(delivered, database_url, redis_url)


def _refused_files(twin: Twin, folder: Path, events: int) -> list[dict[str, Any]]:
    """Upload files that Stripe refuses whole and return the events that say so."""
    for number in range(events):
        text = FILE.format(number=number, at=int(time.time()) - 3600)
        for place in ("sources", "bucket"):
            (folder / place / f"{number:05}.csv").write_text(text)
    refused: list[dict[str, Any]] = []
    while len(refused) < events:
        twin.poll()
        twin.publish()
        refused = [event.delivered() for event in twin.events() if event.type == REFUSED]
    return refused


def _drained_in(delivered: list[dict[str, Any]], database_url: str, redis_url: str) -> float:
    """Return the seconds until the workers have sent every record again."""
    from workers.kernel.event_envelope import read_envelope
    from workers.kernel.jobqueue import RqJobQueue
    from workers.kernel.ledger import connect
    from workers.kernel.ledger.case import CaseState

    ledger = connect(database_url)
    queue = RqJobQueue(redis_url, job_timeout=600)
    for event in delivered:
        ledger.events.record(read_envelope(json.dumps(event).encode(), livemode=False))
    begun = time.monotonic()
    for event in delivered:
        queue.enqueue_event(event["id"], 0)
    _until(lambda: ledger.queries.case_counts().get(CaseState.AWAITING, 0) == len(delivered))
    seconds = time.monotonic() - begun
    ledger.close()
    return seconds


@contextmanager
def _workers(redis: Redis, command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Run the workers, all of them ready; stop them at the end."""
    silent = subprocess.DEVNULL
    started = [
        subprocess.Popen([sys.executable, *command], env=environment, stdout=silent, stderr=silent)
        for _ in range(WORKERS)
    ]
    try:
        _until(lambda: Worker.count(connection=redis) >= WORKERS)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the workers do not come to an end")
        time.sleep(0.05)
