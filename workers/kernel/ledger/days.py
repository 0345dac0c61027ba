"""What was refused, what was recovered and what waited, day by day: for charts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import WAITING, Bucket
from workers.kernel.ledger.tables import entries
from workers.kernel.ledger.totals import CaseTotals

_DAY: Final = len("2026-11-28")


@dataclass(frozen=True)
class Day:
    """Records that were refused and that were confirmed on a day (UTC), and how many waited at its end.

    `recovered` is less than nothing where more was taken back than confirmed.
    """

    day: date
    refused: int
    recovered: int
    waiting: int


class Days:
    """The journal of all cases by days."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def last(self, number: int) -> Sequence[Day]:
        """Return the last days, today last."""
        today = self._clock().date()
        days = [today - timedelta(days=back) for back in range(number)]
        into, out_of = self._moved(days[-1])
        balance = CaseTotals(self._database).of_all().balance
        waiting = sum(balance[bucket].records for bucket in WAITING)
        found = []
        for day in days:
            recovered = into[day, Bucket.CONFIRMED] - out_of[day, Bucket.CONFIRMED]
            found.append(Day(day, out_of[day, None], recovered, waiting))
            waiting -= sum(into[day, bucket] - out_of[day, bucket] for bucket in WAITING)
        return found[::-1]

    def _moved(self, since: date) -> tuple[Counter[tuple[date, str | None]], Counter[tuple[date, str | None]]]:
        """Return how many records came into and left each bucket on each day; what left none is new."""
        day = func.substr(entries.c.at, 1, _DAY).label("day")
        route = entries.c.from_bucket, entries.c.to_bucket
        query = select(day, *route, func.sum(entries.c.records).label("records")).where(
            entries.c.at >= datetime(since.year, since.month, since.day, tzinfo=UTC),
            entries.c.to_bucket.is_not(None),
        )
        into, out_of = Counter[tuple[date, str | None]](), Counter[tuple[date, str | None]]()
        for row in self._database.rows(query.group_by(day, *route)):
            moved_on = date.fromisoformat(row["day"])
            into[moved_on, row["to_bucket"]] += int(row["records"])
            out_of[moved_on, row["from_bucket"]] += int(row["records"])
        return into, out_of
