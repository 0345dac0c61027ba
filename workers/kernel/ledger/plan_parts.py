"""The parts of a large case's plan: each is decided by a job of its own, on any worker.

Parts belong to one version of the case. When the case moves on meanwhile, its parts are left behind and a new plan
is drafted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, select, update

from workers.kernel.clock import Clock
from workers.kernel.errors import Conflict
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.ledger.leases import Lease, Leases, is_over
from workers.kernel.ledger.tables import plan_parts


@dataclass(frozen=True)
class PlanPart:
    """`records` of a case's pending records from the `first` (0-based) on, to be decided as of `as_of`.

    `decided` is the record set of the decisions, None until a job has made them; `deaths` counts the workers that
    died over it.
    """

    case_id: str
    version: int
    number: int
    first: int
    records: int
    as_of: datetime
    decided: RecordSetRef | None = None
    deaths: int = 0


class PlanParts:
    """The plan_parts table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._leases = Leases(database, plan_parts, lambda: {"lease_owner": None, "lease_until": None})

    def draft(self, parts: Sequence[PlanPart]) -> None:
        """Write the parts of one case's plan down, in the place of an earlier version's."""
        rows = [
            {
                "case_id": part.case_id,
                "version": part.version,
                "number": part.number,
                "first": part.first,
                "records": part.records,
                "as_of": part.as_of,
            }
            for part in parts
        ]
        with self._database.write() as connection:
            connection.execute(delete(plan_parts).where(plan_parts.c.case_id == parts[0].case_id))
            connection.execute(insert(plan_parts), rows)

    def of(self, case_id: str, version: int) -> Sequence[PlanPart]:
        """Return the parts of the plan of a case at a version, in order; empty when none was drafted."""
        query = select(plan_parts).where(plan_parts.c.case_id == case_id, plan_parts.c.version == version)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(plan_parts.c.number)).mappings().all()
        return [_part(row) for row in rows]

    @contextmanager
    def hold(self, part: PlanPart, owner: str, lease: timedelta) -> Iterator[PlanPart]:
        """Hold a part while deciding it. Raises Conflict when it is decided, gone or held by another worker."""
        self._leases.settle()
        now = self._clock()
        row = _row_of(part)
        free = is_over(plan_parts.c.lease_until, now)
        taken = {
            "lease_owner": owner,
            "lease_until": now + lease,
            # A lease that is still there ran out over a worker that died holding it.
            "deaths": plan_parts.c.deaths + case((plan_parts.c.lease_owner.is_not(None), 1), else_=0),
        }
        with self._database.write() as connection:
            mine = update(plan_parts).where(row, free, plan_parts.c.record_set.is_(None)).values(taken)
            if connection.execute(mine).rowcount != 1:
                raise Conflict(f"part {part.number} of {part.case_id} is decided or held by another worker")
            held = _part(connection.execute(select(plan_parts).where(row)).mappings().one())
        try:
            yield held
        finally:
            self._leases.give_back(Lease(row, owner, held.deaths))

    def renew(self, part: PlanPart, owner: str, lease: timedelta) -> None:
        """Extend the lease during long work. Raises Conflict when it was lost."""
        mine = update(plan_parts).where(_row_of(part), plan_parts.c.lease_owner == owner)
        with self._database.write() as connection:
            if connection.execute(mine.values(lease_until=self._clock() + lease)).rowcount != 1:
                raise Conflict(f"the lease on part {part.number} of {part.case_id} was lost")

    def forget_deaths(self, case_id: str) -> None:
        """Let the open parts of a case be tried again, on an operator's word."""
        mine = update(plan_parts).where(plan_parts.c.case_id == case_id, plan_parts.c.record_set.is_(None))
        with self._database.write() as connection:
            connection.execute(mine.values(deaths=0))

    def decide(self, part: PlanPart, decided: RecordSetRef) -> int:
        """Note a part's decisions and return how many parts are still open; a part is decided once."""
        mine = (
            plan_parts.c.case_id == part.case_id,
            plan_parts.c.version == part.version,
        )
        values = {"record_set": decided.name, "record_set_sha256": decided.sha256}
        with self._database.write() as connection:
            connection.execute(
                update(plan_parts)
                .where(*mine, plan_parts.c.number == part.number, plan_parts.c.record_set.is_(None))
                .values(values)
            )
            open_parts = (
                select(func.count()).select_from(plan_parts).where(*mine, plan_parts.c.record_set.is_(None))
            )
            return int(connection.scalar(open_parts) or 0)


def _row_of(part: PlanPart) -> ColumnElement[bool]:
    columns = plan_parts.c
    return and_(columns.case_id == part.case_id, columns.version == part.version, columns.number == part.number)


def _part(row: Any) -> PlanPart:
    return PlanPart(
        row["case_id"],
        row["version"],
        row["number"],
        row["first"],
        row["records"],
        row["as_of"],
        RecordSetRef(row["record_set"], row["record_set_sha256"]) if row["record_set"] else None,
        row["deaths"],
    )
