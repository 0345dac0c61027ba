"""Incidents: cases of one cause that come close together, so that a person hears of them as one thing.

A view over cases for those who are told. No step of a case reads it, and an incident that is lost is opened anew by
the next of its cases that changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import CLOCKS_DIFFER, Clock
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.paging import Page, Stretch, page
from workers.kernel.ledger.tables import UtcTime, incident_cases, incidents

LONGEST: Final = timedelta(days=1)
"""After so long a cause that goes on is another incident: people hear that it does, and a look stays small."""


@dataclass(frozen=True)
class Incident:
    """Cases of one cause. `opened_at` and `last_at` are when the first and the last of them was opened.

    `changes` counts what was noted in it. `said` is plain JSON of what a person was told last, None before that.
    `due_at` is when to look for something to say. `over_at` is when all its cases were settled and no other came.
    """

    id: str
    cause: str
    account: str | None
    livemode: bool
    opened_at: datetime
    last_at: datetime
    cases: int
    records: int
    changes: int
    said: Mapping[str, Any] | None
    due_at: datetime | None
    over_at: datetime | None


_COLUMNS: Final = [incidents.c[name] for name in Incident.__dataclass_fields__]
_STRETCHES: Final = (Stretch(incidents.c.last_at),)


class Incidents:
    """The tables incidents and incident_cases."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def note(self, of: Case, cause: str, status: Mapping[str, Any], gap: timedelta) -> None:
        """Write down how a case stands, and make its incident due: the one of its cause within `gap`, or a new one.

        Raises LedgerUnavailable.
        """
        with suppress(IntegrityError):  # another worker has opened the incident in the same instant
            self._write(of, cause, status, gap)
            return
        self._write(of, cause, status, gap)

    def _write(self, of: Case, cause: str, status: Mapping[str, Any], gap: timedelta) -> None:
        records = of.balance.failed.records
        row = {"records": records, "status": dict(status)}
        mine = incident_cases.c.case_id == of.id
        with self._database.write() as connection:
            there = connection.execute(select(incident_cases).where(mine)).mappings().one_or_none()
            if there is not None:
                connection.execute(update(incident_cases).where(mine).values(row))
                _grow(connection, there["incident_id"], of, self._clock(), 0, records - there["records"])
                return
            incident_id = _joined(connection, of, cause, gap)
            connection.execute(insert(incident_cases).values(case_id=of.id, incident_id=incident_id, **row))
            _grow(connection, incident_id, of, self._clock(), 1, records)

    def due(self, quiet: timedelta, gap: timedelta) -> Sequence[Incident]:
        """Return the incidents that have been due for `quiet`, the longest waiting first."""
        now = self._clock()
        # None is due later than `gap` from now: what is was written by a clock that was ahead.
        due = or_(incidents.c.due_at <= now - quiet, incidents.c.due_at > now + gap + CLOCKS_DIFFER)
        return self._found(due)

    def recent(self, limit: int) -> Sequence[Incident]:
        """Return incidents, those of the newest cases first."""
        return self.page(limit).rows

    def page(self, limit: int, after: str | None = None) -> Page[Incident]:
        """Return the incidents that come after a place in that list."""
        query = select(*_COLUMNS).where(incidents.c.cases > 0)
        found = page(self._database, query, _STRETCHES, incidents.c.id, limit, after)
        return Page([Incident(**dict(row)) for row in found.rows], found.after)

    def get(self, incident_id: str) -> Incident | None:
        """Return an incident, None where there is none of that id."""
        return next(iter(self._found(incidents.c.id == incident_id)), None)

    def of_case(self, case_id: str) -> str | None:
        """Return the incident that a case belongs to; None where nobody was to hear of it."""
        query = select(incident_cases.c.incident_id).where(incident_cases.c.case_id == case_id)
        return next(iter(self._database.values(query)), None)

    def statuses(self, incident_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield how the cases of an incident stand, in the order of their ids."""
        query = select(incident_cases.c.status).where(incident_cases.c.incident_id == incident_id)
        yield from self._database.values(query.order_by(incident_cases.c.case_id))

    def titles(self, found: Sequence[Incident]) -> Mapping[str, str]:
        """Return what the only case of an incident is called, by the incident's id; none where it has several.

        A title names what a person knows, the meter's event name, where a cause may have nothing but its id.
        """
        alone = [incident.id for incident in found if incident.cases == 1]
        query = select(incident_cases.c.incident_id, incident_cases.c.status)
        rows = self._database.rows(query.where(incident_cases.c.incident_id.in_(alone)))
        titles = {row["incident_id"]: row["status"].get("title", "") for row in rows}
        return {incident_id: title for incident_id, title in titles.items() if title}

    def case_ids(self, incident_id: str) -> Sequence[str]:
        """Return the cases of an incident; none where there is no such incident."""
        query = select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident_id)
        return self._database.values(query.order_by(incident_cases.c.case_id))

    def looked_at(
        self, incident: Incident, said: Mapping[str, Any] | None, *, due_at: datetime | None, over: bool
    ) -> None:
        """Write down what was said, and when to look again; a case that has changed meanwhile keeps it due."""
        mine = incidents.c.id == incident.id
        with self._database.write() as connection:
            connection.execute(update(incidents).where(mine).values(said=said))
            over_at = self._clock() if over else incident.over_at
            unchanged = update(incidents).where(mine, incidents.c.changes == incident.changes)
            connection.execute(unchanged.values(due_at=due_at, over_at=over_at))

    def _found(self, chosen: ColumnElement[bool]) -> Sequence[Incident]:
        query = select(*_COLUMNS).where(chosen).order_by(incidents.c.due_at, incidents.c.id)
        return [Incident(**dict(row)) for row in self._database.rows(query)]


def _key(of: Case, cause: str) -> str:
    return f"{of.failure.account or ''}:{'live' if of.failure.livemode else 'test'}:{cause}"


def _joined(connection: Connection, of: Case, cause: str, gap: timedelta) -> str:
    """Return the incident that a case belongs to; the next one of its cause is opened where there is none.

    Both are asked for in one query, which sees one moment: of two workers that open one at once, the second one
    fails by its id.
    """
    columns, at, key = incidents.c, of.opened_at, _key(of, cause)
    near = and_(columns.opened_at <= at + gap, columns.opened_at > at - LONGEST, columns.last_at >= at - gap)
    ours = select(columns.id).where(columns.key == key, near).order_by(columns.last_at.desc()).limit(1)
    earlier = select(func.count()).select_from(incidents).where(columns.key == key)
    found, count = connection.execute(select(ours.scalar_subquery(), earlier.scalar_subquery())).one()
    if found is not None:
        return str(found)
    incident_id = "inc_" + sha256(f"{key}\n{count}".encode()).hexdigest()[:16]
    about = {"key": key, "cause": cause, "account": of.failure.account, "livemode": of.failure.livemode}
    row = {"id": incident_id, **about, "opened_at": at, "last_at": at, "cases": 0, "records": 0, "changes": 0}
    connection.execute(insert(incidents).values(row))
    return incident_id


def _grow(connection: Connection, incident_id: str, of: Case, now: datetime, cases: int, records: int) -> None:
    # Typed, for a time is stored as the column's text, and compared as such.
    columns, at, present = incidents.c, literal(of.opened_at, UtcTime), literal(now, UtcTime)
    values = {
        "cases": columns.cases + cases,
        "records": columns.records + records,
        "changes": columns.changes + 1,
        "opened_at": case((columns.opened_at > at, at), else_=columns.opened_at),
        "last_at": case((columns.last_at < at, at), else_=columns.last_at),
        "due_at": case((columns.due_at <= present, columns.due_at), else_=present),
        "over_at": None,
    }
    connection.execute(update(incidents).where(columns.id == incident_id).values(values))
