"""Finding events for a person, without their bodies, and what each has led to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, select

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.paging import Page, Stretch, page
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


_COLUMNS: Final = [events.c[name] for name in EventRow.__dataclass_fields__]
_STRETCHES: Final = (
    Stretch(events.c.received_at, rows=events.c.state == EventState.FAILED),
    Stretch(events.c.received_at, rows=events.c.state != EventState.FAILED),
)


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
        return self.page(wanted, limit).rows

    def page(self, wanted: EventFilter, limit: int = 100, after: str | None = None) -> Page[EventRow]:
        """Return the events that come after a place in the list."""
        query = select(*_COLUMNS).where(*_conditions(wanted))
        found = page(self._database, query, _STRETCHES, events.c.id, limit, after)
        return Page([EventRow(**dict(row)) for row in found.rows], found.after)

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


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.type is not None:
        found.append(events.c.type == wanted.type)
    if wanted.states:
        found.append(events.c.state.in_(list(wanted.states)))
    if wanted.since is not None:
        found.append(events.c.received_at >= wanted.since)
    return found
