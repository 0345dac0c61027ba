"""If these fail, work that kills its workers goes on killing them, or an outage makes innocent work look deadly."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.integration.ledger.test_leases import Outage
from tests.recording import RecordingAlerts, RecordingJobQueue
from workers.alerts import Trouble
from workers.kernel.errors import Conflict, LedgerUnavailable
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.leases import MAX_DEATHS
from workers.pipeline import run
from workers.pipeline.context import Context
from workers.pipeline.intake.open_case import Taken
from workers.pipeline.notify import deliver
from workers.pipeline.run import process
from workers.sweeper import sweep

LEASE_MINUTES = 6.0


class Killed(BaseException):
    """The process is gone, as after kill -9."""


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock)


@pytest.fixture
def take_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Let something else happen where an event is taken in."""
    return lambda instead: monkeypatch.setattr(run, "take_in", instead)


def next_worker(context: Context) -> Context:
    return replace(context, owner=uuid4().hex)


def receive(context: Context, event_id: str, *, rows: int = 5) -> None:
    subject = {"id": f"impset_{event_id}", "result": {"errors": {"row_count": rows}}}
    event = {"id": event_id, "object": "event", "type": "data_management.import_set.succeeded", "livemode": False}
    body = json.dumps({**event, "data": {"object": subject}}).encode()
    context.ledger.events.record(read_envelope(body, livemode=False))


def stands(context: Context, event_id: str) -> tuple[EventState, int, str | None]:
    event = context.ledger.events.get(event_id)
    assert event is not None
    return event.state, event.deaths, event.reason


def swept(context: Context) -> list[str]:
    """What the sweeper hints at, small and large."""
    sweep(context)
    queue = context.queue
    assert isinstance(queue, RecordingJobQueue)
    hinted = [event_id for event_id, _ in (*queue.events, *queue.large_events)]
    queue.events.clear()
    queue.large_events.clear()
    return hinted


def told(context: Context) -> list[str]:
    """What a person was told of."""
    deliver(context)
    alerts = context.alerts
    assert isinstance(alerts, RecordingAlerts)
    return [alert.subject for alert in alerts.posted if isinstance(alert, Trouble)]


@pytest.mark.parametrize("rows", [5, 10**6])
def test_an_event_that_kills_three_workers_ends_visibly_and_others_go_on(
    context: Context, clock: FrozenClock, take_in: Callable[[Callable[..., Any]], None], rows: int
) -> None:
    """A small file and a large one, each in its queue."""

    def deadly(_: Context, event: Any) -> Taken:
        if event.id == "evt_deadly":
            raise Killed
        return Taken(ignored="clean")

    take_in(deadly)
    receive(context, "evt_deadly", rows=rows)
    receive(context, "evt_innocent", rows=rows)
    for _ in range(MAX_DEATHS):
        clock.turn(minutes=LEASE_MINUTES)
        for event_id in swept(context):
            with suppress(Killed):
                process(next_worker(context), event_id)
    assert stands(context, "evt_innocent")[0] is EventState.IGNORED
    clock.turn(minutes=LEASE_MINUTES)
    assert swept(context) == ["evt_deadly"]
    process(next_worker(context), "evt_deadly")
    assert stands(context, "evt_deadly") == (EventState.FAILED, 3, "a worker died over it 3 times")
    assert swept(context) == []
    assert told(context) == ["evt_deadly"]


def test_an_outage_where_an_event_ends_is_no_death(
    context: Context, clock: FrozenClock, take_in: Callable[[Callable[..., Any]], None]
) -> None:
    """A database that is restarted each time would make any event fail as deadly."""
    outage = Outage(context.ledger)
    receive(context, "evt_1")

    def cut_off(*_: object) -> Taken:
        outage.begins()
        return Taken(ignored="clean")

    take_in(cut_off)
    for _ in range(MAX_DEATHS + 1):
        with pytest.raises(LedgerUnavailable):
            process(next_worker(context), "evt_1")
        outage.ends()
        clock.turn(minutes=LEASE_MINUTES)
    take_in(lambda *_: Taken(ignored="clean"))
    process(next_worker(context), "evt_1")
    assert stands(context, "evt_1") == (EventState.IGNORED, 0, "clean")


def test_a_worker_that_was_paused_beyond_its_lease_is_no_death(
    context: Context, clock: FrozenClock, take_in: Callable[[Callable[..., Any]], None]
) -> None:
    receive(context, "evt_1")

    def paused(*_: object) -> Taken:
        clock.turn(minutes=LEASE_MINUTES)
        take_in(lambda *_: Taken(ignored="clean"))
        context.ledger.events.claim("evt_1", "another", context.lease)
        return Taken(ignored="clean")

    take_in(paused)
    with pytest.raises(Conflict):
        process(next_worker(context), "evt_1")
    assert stands(context, "evt_1")[:2] == (EventState.PROCESSING, 0)
