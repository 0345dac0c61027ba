"""Finding events for a person, without their bodies, and what each has led to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.tables import entries, events


@dataclass(frozen=True)
class EventRow:
    """An event in a list. `reason` is why it was ignored, or has failed."""

    id: str
    type: str
    account: str | None
    livemode: bool
    received_at: datetime
    state: str
    reason: str | None
    attempts: int


@dataclass(frozen=True)
class EventFilter:
    """Which events are meant; nothing named means all of them. `since` is when they were received."""

    type: str | None = None
    states: Sequence[EventState] = ()
    since: datetime | None = None


@dataclass(frozen=True)
class LedTo:
    """What an event has brought into a case's journal: how many records, by so many entries."""

    case_id: str
    entries: int
    records: int


class EventList:
    """Lists of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, wanted: EventFilter, limit: int = 100) -> Sequence[EventRow]:
        """Return events, those that have failed first, and of each sort the last received first."""
        failed, others = events.c.state == EventState.FAILED, events.c.state != EventState.FAILED
        found = self._rows([*_conditions(wanted), failed], limit)
        left = limit - len(found)
        return [*found, *(self._rows([*_conditions(wanted), others], left) if left else [])]

    def count(self, wanted: EventFilter) -> int:
        """Return how many events are meant."""
        query = select(func.count()).select_from(events).where(*_conditions(wanted))
        return int(self._database.values(query)[0])

    def led_to(self, event_id: str) -> Sequence[LedTo]:
        """Return the cases whose journal names an event, those with the most records of it first."""
        moved = func.sum(entries.c.records)
        query = select(entries.c.case_id, func.count().label("entries"), moved.label("records")).where(
            entries.c.event_id == event_id
        )
        grouped = query.group_by(entries.c.case_id).order_by(moved.desc(), entries.c.case_id)
        rows = self._database.rows(grouped)
        return [LedTo(row["case_id"], int(row["entries"]), int(row["records"])) for row in rows]

    def _rows(self, where: Sequence[ColumnElement[bool]], limit: int) -> Sequence[EventRow]:
        columns = [events.c[name] for name in EventRow.__dataclass_fields__]
        query = select(*columns).where(*where).order_by(events.c.received_at.desc(), events.c.id).limit(limit)
        return [EventRow(**dict(row)) for row in self._database.rows(query)]


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.type is not None:
        found.append(events.c.type == wanted.type)
    if wanted.states:
        found.append(events.c.state.in_(list(wanted.states)))
    if wanted.since is not None:
        found.append(events.c.received_at >= wanted.since)
    return found
