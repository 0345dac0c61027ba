"""What stands where in the cases, by code, and what waits for a person by its cause: a view for lists and charts.

Kept with a case's facts, by the worker that has changed what stands where; no step of a case reads it. A case is a
few rows however many records it has: of the customers that a cause names only the largest are told apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, delete, func, insert, select, tuple_

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Bucket, Tally
from workers.kernel.ledger.tables import cases, standings

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


class Standings:
    """Reading the standings table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def groups(self, wanted: CauseFilter, limit: int, offset: int = 0) -> Sequence[Group]:
        """Return what waits for a person, grouped by its cause, the most records first."""
        counted = (
            _RECORDS.label("records"),
            func.count().label("cases"),
            func.min(cases.c.opened_at).label("oldest"),
        )
        query = select(*_CAUSE, *counted).join(cases, cases.c.id == standings.c.case_id)
        grouped = query.where(_WAITS, *_conditions(wanted)).group_by(*_CAUSE)
        rows = self._database.rows(grouped.order_by(_RECORDS.desc(), *_CAUSE).limit(limit).offset(offset))
        found = [Cause(*(row[name] for name in Cause.__dataclass_fields__)) for row in rows]
        shares = self._shares(found)
        return [_group(cause, row, shares[cause]) for cause, row in zip(found, rows, strict=True)]

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

    def _shares(self, of: Sequence[Cause]) -> Mapping[Cause, Sequence[Share]]:
        """Return each case's share of each cause, the most records first."""
        shares: dict[Cause, list[Share]] = {cause: [] for cause in of}
        if not of:
            return shares
        columns = standings.c.case_id, standings.c.records, standings.c.quantity
        asked = [(cause.code, cause.reason, cause.meter, cause.customer) for cause in of]
        mine = select(*columns, *_CAUSE).where(_WAITS, tuple_(*_CAUSE).in_(asked))
        with self._database.read() as connection:
            for row in connection.execute(mine.order_by(standings.c.records.desc(), standings.c.case_id)):
                shares[Cause(*row[len(columns) :])].append(Share(*row[: len(columns)]))
        return shares


def cases_of_code(code: str) -> Select[tuple[str]]:
    """Return the query for the ids of the cases with records of a code; a file's refusals may have several."""
    buckets = [bucket.value for bucket in Bucket]  # named one by one, so that the index finds the code below them
    return select(standings.c.case_id).where(standings.c.bucket.in_(buckets), standings.c.code == code)


def _group(cause: Cause, row: RowMapping, shares: Sequence[Share]) -> Group:
    """Sum the quantities here: databases would round them."""
    total = sum((Tally(share.records, share.quantity) for share in shares), Tally())
    return Group(cause, total, int(row["cases"]), row["oldest"], shares[:MOST_CASES])


def _conditions(wanted: CauseFilter) -> list[ColumnElement[bool]]:
    return [standings.c[name] == value for name, value in vars(wanted).items() if value is not None]
