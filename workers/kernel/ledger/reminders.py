"""Reminders: how much of the time from discovery to a case's deadline had gone when people were to be told again.

A case has one row, and a share is told once. Where the deadline has moved away by a day or more, since what was the
oldest is settled, its time counts anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from workers.kernel.clock import Clock
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.tables import cases, incident_cases, reminders

SHARES: Final = (50, 75, 90)
"""Hundredths of the time from discovery to the deadline."""
MOVED: Final = timedelta(days=1)

_QUARANTINED, _PLANNED = (
    (cases.c.balance[(bucket.value, "records")].as_string() != "0").label(bucket.value)
    for bucket in (Bucket.QUARANTINED, Bucket.PLANNED)
)
_STOPPED: Final = (cases.c.trouble.is_not(None) & cases.c.due_at.is_(None)).label("stopped")
_MAY_WAIT: Final = (cases.c.state != CaseState.SETTLED, or_(_QUARANTINED, _PLANNED, _STOPPED))
"""Whether records of a case may wait for a person: those that are planned do so only where nothing can be sent."""


@dataclass(frozen=True)
class Waiting:
    """A case that a deadline nears: what may wait for a person, and what was said of it last.

    `said_for` is the deadline that `share` was told for.
    """

    case_id: str
    account: str | None
    quarantined: bool
    planned: bool
    stopped: bool
    opened_at: datetime
    deadline: datetime
    share: int | None
    said_for: datetime | None

    def reached(self, now: datetime) -> int | None:
        """Return the share that is to be told now, None where none is new."""
        whole = self.deadline - self.opened_at
        gone = (now - self.opened_at) / whole if whole > timedelta(0) else 0.0
        reached = max((share for share in SHARES if gone * 100 >= share), default=None)
        told = self.share if self.said_for is not None and self.deadline < self.said_for + MOVED else None
        return reached if reached is not None and (told is None or reached > told) else None


@dataclass(frozen=True)
class Reminder:
    """A case that people are to be reminded of, and its incident."""

    case_id: str
    incident_id: str
    share: int
    deadline: datetime


class Reminders:
    """The reminders table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def waiting(self) -> Iterator[Waiting]:
        """Yield the cases that a deadline nears and that may wait for a person, each with its last reminder."""
        query = (
            select(
                *(cases.c.id.label("case_id"), cases.c.account, _QUARANTINED, _PLANNED, _STOPPED),
                *(cases.c.opened_at, cases.c.deadline, reminders.c.share, reminders.c.deadline.label("said_for")),
            )
            .outerjoin(reminders, reminders.c.case_id == cases.c.id)
            .where(*_MAY_WAIT, cases.c.deadline.is_not(None))
        )
        yield from (Waiting(**row) for row in self._database.rows(query))

    def note(self, reached: Sequence[tuple[Waiting, int]]) -> None:
        """Write down the shares that are to be told; where another clock was quicker, that is how it stays."""
        new = [_row(one, share) for one, share in reached if one.share is None]
        further = [
            {**_row(one, share), "of": one.case_id, "said": one.share, "said_for": one.said_for}
            for one, share in reached
            if one.share is not None
        ]
        as_read = (
            update(reminders)
            .where(
                reminders.c.case_id == bindparam("of"),
                reminders.c.share == bindparam("said"),
                reminders.c.deadline == bindparam("said_for"),
            )
            .values(share=bindparam("share"), deadline=bindparam("deadline"), told_at=None)
        )
        with self._database.write() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            if new:
                connection.execute(dialect.insert(reminders).on_conflict_do_nothing(), new)
            if further:
                connection.execute(as_read, further)

    def due(self) -> Sequence[Reminder]:
        """Return what is to be told and still waits, the nearest deadline first."""
        query = (
            select(reminders.c.case_id, incident_cases.c.incident_id, reminders.c.share, reminders.c.deadline)
            .join(incident_cases, incident_cases.c.case_id == reminders.c.case_id)
            .join(cases, cases.c.id == reminders.c.case_id)
            .where(reminders.c.told_at.is_(None), *_MAY_WAIT)
            .order_by(reminders.c.deadline, reminders.c.case_id)
        )
        return [Reminder(**row) for row in self._database.rows(query)]

    def told(self, said: Sequence[Reminder]) -> None:
        """Write down that people were told; a share that was reached meanwhile stays untold."""
        mine = reminders.c.case_id == bindparam("of"), reminders.c.share == bindparam("said")
        with self._database.write() as connection:
            connection.execute(
                update(reminders).where(*mine).values(told_at=self._clock()),
                [{"of": one.case_id, "said": one.share} for one in said],
            )


def _row(one: Waiting, share: int) -> dict[str, Any]:
    return {"case_id": one.case_id, "share": share, "deadline": one.deadline}
