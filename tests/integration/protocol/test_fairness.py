"""If these fail, one account's flood makes every other account wait, or fills Redis until it falls over."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue
from workers.kernel.errors import Conflict
from workers.kernel.event_envelope import LARGE_RECORDS, read_envelope
from workers.kernel.jobqueue import CROWDED, JobQueue, RqJobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.tables import events
from workers.pipeline.context import Context
from workers.sweeper import BATCH, QUIET, sweep


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


def flood(ledger: Ledger, clock: FrozenClock, account: str, count: int) -> list[str]:
    """Store events as the web does, all at once."""
    ids = [f"evt_{account}_{number}" for number in range(count)]
    row = {
        "kind": "thin",
        "type": "v1.billing.meter.error_report_triggered",
        "account": account,
        "livemode": False,
        "received_at": clock.now,
        "due_at": clock.now,
        "raw": b"{}",
        "sha256": "0" * 64,
        "state": "received",
        "attempts": 0,
        "deaths": 0,
    }
    with ledger.database.write() as connection:
        connection.execute(sa.insert(events), [{**row, "id": event_id} for event_id in ids])
    return ids


def finish(context: Context, event_id: str) -> None:
    """Do an event's work, which is nothing here."""
    try:
        context.ledger.events.claim(event_id, "worker", timedelta(minutes=5))
        context.ledger.events.finish(event_id, "worker", EventState.DONE)
    except Conflict:
        pass


def test_ten_events_finish_early_behind_another_accounts_five_thousand(
    context: Context, clock: FrozenClock
) -> None:
    queue = context.queue
    assert isinstance(queue, RecordingJobQueue)
    for event_id in flood(context.ledger, clock, "acct_loud", 5000):
        queue.enqueue_new([event_id], large=False)
    quiet = flood(context.ledger, clock, "acct_quiet", 10)
    for event_id in quiet:
        queue.enqueue_new([event_id], large=False)
    clock.turn(seconds=QUIET.total_seconds() + 1)
    finished: list[str] = []
    longest = 0
    while not set(quiet) <= set(finished):
        sweep(context)
        longest = max(longest, len(queue.events))
        for event_id, _ in queue.events[:50]:
            finish(context, event_id)
            finished.append(event_id)
        del queue.events[:50]
    assert len(finished) <= CROWDED + 50
    assert longest <= CROWDED + BATCH


def test_a_flood_drains_to_the_last_event_with_a_queue_of_bounded_length(
    context: Context, clock: FrozenClock
) -> None:
    queue = context.queue
    assert isinstance(queue, RecordingJobQueue)
    flood(context.ledger, clock, "acct_loud", 1200)
    clock.turn(seconds=QUIET.total_seconds() + 1)
    while sweep(context) or queue.events:
        assert len(queue.events) <= BATCH
        for event_id, _ in queue.events:
            finish(context, event_id)
        queue.events.clear()
    assert context.ledger.queries.event_counts() == {"done": 1200}


@pytest.mark.parametrize("kind", ["rq", "recording"])
def test_a_crowded_queue_takes_no_new_event_and_the_other_one_still_does(
    kind: str, request: pytest.FixtureRequest
) -> None:
    queue: JobQueue = RecordingJobQueue()
    if kind == "rq":
        queue = RqJobQueue(request.getfixturevalue("redis_url"), job_timeout=60)
    for number in range(CROWDED + 5):
        queue.enqueue_new([f"evt_{number}"], large=False)
    queue.enqueue_new(["evt_large"], large=True)
    assert (queue.waiting(), queue.waiting(large=True)) == (CROWDED, 1)


def import_set(event_type: str, result: Any) -> bytes:
    subject = {"id": "impset_1", "result": result}
    event = {"id": "evt_1", "object": "event", "type": f"data_management.import_set.{event_type}"}
    return json.dumps({**event, "livemode": False, "data": {"object": subject}}).encode()


@pytest.mark.parametrize(
    ("body", "large"),
    [
        (import_set("succeeded", {"errors": {"row_count": LARGE_RECORDS + 1}}), True),
        (import_set("succeeded", {"errors": {"row_count": 5}, "rows_processed": 10**9}), False),
        (import_set("succeeded", None), False),
        (import_set("failed", {"rows_processed": 5}), False),
        (import_set("failed", {"rows_processed": 10**6}), True),
        (import_set("failed", None), True),
        (b'{"id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"}', False),
    ],
)
def test_an_import_set_of_many_rows_is_kept_apart_from_small_events(body: bytes, large: bool) -> None:
    assert read_envelope(body, livemode=False).large is large


def test_large_events_are_swept_into_their_own_queue(context: Context, clock: FrozenClock) -> None:
    context.ledger.events.record(read_envelope(import_set("failed", None), livemode=False))
    clock.turn(minutes=1)
    sweep(context)
    queue = context.queue
    assert isinstance(queue, RecordingJobQueue)
    assert (queue.events, queue.large_events) == ([], [("evt_1", 0)])
