"""A queue of very many events: how fast it drains, and whether the workers' memory grows with it."""

import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from bench.faults.house import House, Plan
from workers.kernel.jobqueue import EVENTS, PROCESS_EVENT, job_id
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.ledger.tables import events as events_table

WORKERS: Final = 4
BATCH: Final = 5000
WARMING: Final = 500
PATIENCE: Final = 3600.0
LOOK_SECONDS: Final = 1.0


def measure(events: int) -> dict[str, Any]:
    """Queue `events` verdicts on clean imports, and return how they drained.

    `seconds` to drain; `mib_before` and `mib_peak`: resident memory in MiB of the larger worker, before the first
    event and at its highest until the last.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mm-faults-pressure-") as folder,
        House(Path(folder) / "house", Plan(ledger="postgres", workers=WORKERS)) as house,
    ):
        _warm_up(house)
        before = _memory(house, "VmRSS")
        for name in house.supervisor.names("worker-"):
            house.supervisor.freeze(name)
        _queue_up(house, events)
        begun = time.monotonic()
        for name in house.supervisor.names("worker-"):
            house.supervisor.thaw(name)
        house.until(lambda: _ended(house) >= events + WARMING, PATIENCE, "the queue to drain", every=LOOK_SECONDS)
        seconds = time.monotonic() - begun
        peak = _memory(house, "VmHWM")
    return {
        "events": events,
        "workers": WORKERS,
        "seconds": round(seconds, 1),
        "mib_before": before,
        "mib_peak": peak,
    }


def _warm_up(house: House) -> None:
    """Have each worker do its imports, so that they do not count as growth."""
    _put(house, "warm", WARMING)
    house.until(lambda: _ended(house) >= WARMING, PATIENCE, "the workers to warm up", every=LOOK_SECONDS)


def _queue_up(house: House, events: int) -> None:
    for start in range(0, events, BATCH):
        _put(house, f"load{start}", min(BATCH, events - start))


def _put(house: House, label: str, count: int) -> None:
    """Put events into the ledger and their jobs into the queue, many at a time."""
    _store(house, label, count)
    with Redis.from_url(house.redis.url) as redis:
        queue = Queue(EVENTS, connection=redis, serializer=JSONSerializer)
        ids = [_id(label, number) for number in range(count)]
        queue.enqueue_many(
            [
                Queue.prepare_data(PROCESS_EVENT, (one,), job_id=job_id(one, 0), timeout=60, result_ttl=0)
                for one in ids
            ]
        )


def _store(house: House, label: str, count: int) -> None:
    """Put events into the ledger as the web does, many in one transaction."""
    now = datetime.now(UTC)
    rows = [{**_row(_id(label, number)), "received_at": now, "due_at": now} for number in range(count)]
    with house.ledger.database.write() as connection:
        connection.execute(events_table.insert(), rows)


def _row(event_id: str) -> dict[str, Any]:
    subject = {"object": "data_management.import_set", "id": f"impset_test_{event_id}", "status": "succeeded"}
    body = {"id": event_id, "object": "event", "livemode": False, "type": _TYPE, "data": {"object": subject}}
    raw = json.dumps(body).encode()
    receipt = NewEvent(event_id, "snapshot", _TYPE, livemode=False, raw=raw)
    known = {name: getattr(receipt, name) for name in ("id", "kind", "type", "livemode", "raw", "large", "origin")}
    return {**known, "sha256": "", "state": EventState.RECEIVED, "attempts": 0, "deaths": 0}


_TYPE: Final = "data_management.import_set.succeeded"


def _id(label: str, number: int) -> str:
    return f"evt_{label}{number:06d}"


def _ended(house: House) -> int:
    counts = house.ledger.queries.event_counts()
    return counts.get(EventState.IGNORED, 0) + counts.get(EventState.DONE, 0)


def _memory(house: House, field: str) -> int:
    """Return the field of /proc of the larger worker, in MiB."""
    lines = (Path(f"/proc/{pid}/status").read_text() for pid in house.supervisor.pids("worker-"))
    return max(int(text.split(f"{field}:")[1].split()[0]) // 1024 for text in lines)
