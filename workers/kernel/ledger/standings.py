"""What stands where in the cases, by code, and what waits for a person by its cause: a view for lists and charts.

Kept with a case's facts, by the worker that has changed what stands where; no step of a case reads it. A case is a
few rows however many records it has: of the customers that a cause names only the largest are told apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from sqlalchemy import ColumnElement, Connection, Text, delete, exists, func, insert, select, tuple_, type_coerce

from workers.kernel.clock import from_text
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Bucket, Tally
from workers.kernel.ledger.tables import cases, standings
from workers.kernel.money import DIGITS

MOST_CASES: Final = 3
"""Cases of a cause that are named beside it, those with the most records."""


@dataclass(frozen=True)
class Cause:
    """Why records wait: what they were refused for, why nothing was repaired, of which meter and whose they are.

    All but the code is empty where it is not known, or there are too many to tell them apart.
    """

    code: str
    reason: str = ""
    meter: str = ""
    customer: str = ""


@dataclass(frozen=True)
class Standing:
    """How much of a case stands in a bucket; only what is quarantined is told apart by more than its code."""

    bucket: Bucket
    cause: Cause
    tally: Tally


@dataclass(frozen=True)
class Share:
    """What one case has of a cause's records."""

    case_id: str
    records: int
    quantity: Decimal


@dataclass(frozen=True)
class Group:
    """All records that wait for a person for one cause; `largest` are the cases with the most of them.

    `oldest` is when the first of the cases was opened.
    """

    cause: Cause
    tally: Tally
    cases: int
    oldest: datetime
    largest: Sequence[Share] = ()


@dataclass(frozen=True)
class CauseFilter:
    """Which causes are meant; nothing named means all of them."""

    code: str | None = None
    reason: str | None = None
    meter: str | None = None
    customer: str | None = None


def keep_standings(connection: Connection, case_id: str, of: Iterable[Standing]) -> None:
    """Write down what stands where in a case, in the place of what stood there before."""
    rows = [
        {"case_id": case_id, "bucket": one.bucket.value, **asdict(one.cause), **asdict(one.tally)} for one in of
    ]
    connection.execute(delete(standings).where(standings.c.case_id == case_id))
    if rows:
        connection.execute(insert(standings), rows)


_CAUSE: Final = tuple(standings.c[name] for name in Cause.__dataclass_fields__)
_WAITS: Final = standings.c.bucket == Bucket.QUARANTINED.value
_RECORDS: Final = func.sum(standings.c.records)

_Part = tuple[str, int, str, str]
"""What one case has of a cause: the case, records, their quantity, and when the case was opened."""


class Standings:
    """Reading the standings table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def groups(self, wanted: CauseFilter, limit: int, offset: int = 0) -> Sequence[Group]:
        """Return what waits for a person, grouped by its cause, the most records first."""
        grouped = select(*_CAUSE).where(_WAITS, *_conditions(wanted)).group_by(*_CAUSE)
        rows = self._database.rows(grouped.order_by(_RECORDS.desc(), *_CAUSE).limit(limit).offset(offset))
        found = [Cause(**row) for row in rows]
        parts = self._parts(found)
        return [_group(cause, parts[cause]) for cause in found if parts[cause]]

    def count(self, wanted: CauseFilter) -> tuple[int, int]:
        """Return (causes, records) of what waits."""
        causes = select(_RECORDS.label("records")).where(_WAITS, *_conditions(wanted)).group_by(*_CAUSE).subquery()
        query = select(func.count().label("causes"), func.coalesce(func.sum(causes.c.records), 0).label("records"))
        [row] = self._database.rows(query.select_from(causes))
        return int(row["causes"]), int(row["records"])

    def case_ids(self, wanted: CauseFilter, limit: int) -> Sequence[str]:
        """Return the cases of which records wait for such causes."""
        query = select(standings.c.case_id).distinct().where(_WAITS, *_conditions(wanted))
        return self._database.values(query.order_by(standings.c.case_id).limit(limit))

    def by_code(self, opened_since: datetime) -> Mapping[str, Mapping[Bucket, int]]:
        """Return how many records of the cases opened since then stand in each bucket, by their code."""
        since = select(cases.c.id).where(cases.c.opened_at >= opened_since)
        query = (
            select(standings.c.code, standings.c.bucket, _RECORDS.label("records"))
            .where(standings.c.case_id.in_(since))
            .group_by(standings.c.code, standings.c.bucket)
        )
        found: dict[str, dict[Bucket, int]] = defaultdict(dict)
        for row in self._database.rows(query):
            found[row["code"]][Bucket(row["bucket"])] = int(row["records"])
        return found

    def _parts(self, of: Sequence[Cause]) -> Mapping[Cause, Sequence[_Part]]:
        """Return what each case has of each cause, the most records first."""
        parts: dict[Cause, list[_Part]] = {cause: [] for cause in of}
        if not of:
            return parts
        # As texts: there may be many more of them than are shown.
        quantity, opened = type_coerce(standings.c.quantity, Text), type_coerce(cases.c.opened_at, Text)
        columns = standings.c.case_id, standings.c.records, quantity, opened
        asked = [(cause.code, cause.reason, cause.meter, cause.customer) for cause in of]
        mine = select(*columns, *_CAUSE).join(cases, cases.c.id == standings.c.case_id)
        mine = mine.where(_WAITS, tuple_(*_CAUSE).in_(asked))
        with self._database.read() as connection:
            for row in connection.execute(mine.order_by(standings.c.records.desc(), standings.c.case_id)):
                parts[Cause(*row[len(columns) :])].append(tuple(row[: len(columns)]))
        return parts


def has_code(case_id: ColumnElement[str], code: str) -> ColumnElement[bool]:
    """Tell whether a case has records of a code; a file's refusals may have several."""
    return exists().where(standings.c.case_id == case_id, standings.c.code == code)


def _group(cause: Cause, parts: Sequence[_Part]) -> Group:
    """Sum the quantities here: databases would round them."""
    with localcontext(prec=DIGITS):
        total = Tally(
            sum(records for _, records, _, _ in parts), sum((Decimal(part[2]) for part in parts), Decimal(0))
        )
    oldest = from_text(min(opened for *_, opened in parts))
    largest = [Share(case_id, records, Decimal(quantity)) for case_id, records, quantity, _ in parts[:MOST_CASES]]
    return Group(cause, total, len(parts), oldest, largest)


def _conditions(wanted: CauseFilter) -> list[ColumnElement[bool]]:
    return [standings.c[name] == value for name, value in vars(wanted).items() if value is not None]
