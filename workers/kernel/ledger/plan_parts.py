"""The parts of a large case's plan: each is decided by a job of its own, on any worker.

Parts belong to one version of the case. When the case moves on meanwhile, its parts are left behind and a new plan
is drafted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.movements import RecordSetRef
from workers.kernel.ledger.tables import plan_parts


@dataclass(frozen=True)
class PlanPart:
    """`records` of a case's pending records from the `first` (0-based) on, to be decided as of `as_of`.

    `decided` is the record set of the decisions, None until a job has made them.
    """

    case_id: str
    version: int
    number: int
    first: int
    records: int
    as_of: datetime
    decided: RecordSetRef | None = None


class PlanParts:
    """The plan_parts table."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        return [
            PlanPart(
                row["case_id"],
                row["version"],
                row["number"],
                row["first"],
                row["records"],
                row["as_of"],
                RecordSetRef(row["record_set"], row["record_set_sha256"]) if row["record_set"] else None,
            )
            for row in rows
        ]

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
