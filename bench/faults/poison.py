"""Events that are of no use, and one that kills whoever works on it: each must end where a person sees it."""

import json
import time
import uuid
from functools import partial
from typing import Any, Final

from bench.faults.stage import Stage
from workers.kernel.ledger.events import EventState

KILLER: Final = "/v1/files/file_killer"
POISONOUS: Final = 4
"""Events that are meant to end as failed: three that cannot be read and the killer."""


def play(stage: Stage) -> None:
    """Deliver poison among good usage; the good usage must not wait for it."""
    house = stage.house
    house.fail_next("hang", KILLER, times=1000, seconds=30)
    events = [*_unreadable(), killer := _snapshot({"status": "failed", "file": "file_killer"})]
    house.control("deliver", {"events": events})
    with stage.feeding():
        for deaths in range(3):
            stage.until(partial(_works_alone, stage, killer["id"], deaths), f"death {deaths + 1} over the killer")
            stage.kill_workers()
    stage.until(lambda: _state(stage, killer["id"]) == EventState.FAILED, "the killer to end as failed")


def _works_alone(stage: Stage, event_id: str, deaths: int) -> bool:
    """Whether the killer is taken up again, and no good event at the same time: that one would seem deadly, too."""
    event = stage.house.ledger.events.get(event_id)
    taken_up = event is not None and event.state is EventState.PROCESSING and event.deaths >= deaths
    return taken_up and stage.house.ledger.queries.event_counts().get(EventState.PROCESSING) == 1


def _state(stage: Stage, event_id: str) -> EventState | None:
    event = stage.house.ledger.events.get(event_id)
    return event.state if event else None


def _unreadable() -> list[dict[str, Any]]:
    """Return events that Stripe signs but that say nothing usable."""
    thin = {
        "id": f"evt_test_{uuid.uuid4().hex}",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": False,
        "created": "2026-11-21T09:00:00.000Z",
    }
    return [
        _snapshot({"status": "failed", "file": "file_gone"}),
        _snapshot({"status": "succeeded_with_errors", "result": {"errors": {"file": "file_gone", "row_count": 3}}}),
        {**thin, "data": {"reason": json.loads('{"error_types": 7, "error_count": "many"}')}},
    ]


def _snapshot(import_set: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "created": int(time.time()),
        "type": "data_management.import_set.failed",
        "livemode": False,
        "data": {"object": {"id": f"impset_test_{uuid.uuid4().hex}", **import_set}},
    }
