"""What all open cases put at risk, and what was recovered: per currency, and quantities per meter."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import BigInteger, case, cast, func, literal, select

from workers.kernel.clock import Clock
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.case_facts import SETTLED
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Bucket, Tally
from workers.kernel.ledger.tables import UtcTime, cases, incident_cases, recoveries
from workers.kernel.money import Money, added, from_json

_UNSETTLED: Final = [state for state in CaseState if state is not CaseState.SETTLED]
"""Named one by one: an index finds them, among however many settled cases."""
_OPEN: Final = [bucket for bucket in Bucket if bucket not in SETTLED]


@dataclass(frozen=True)
class AtRisk:
    """What stands open: over `cases` cases `records` records.

    `by_meter` is event name -> what is open of it. `unpriced` counts the cases of which no price is known.
    `deadline` is the nearest that is to come, and `overdue` counts the cases whose own is over.
    """

    cases: int
    records: int
    money: Money
    unpriced: int
    by_meter: Mapping[str, Tally]
    deadline: datetime | None
    overdue: int


@dataclass(frozen=True)
class Recovered:
    """Usage that was refused and is proven to count now, and what it is worth; what was taken back counts off."""

    records: int
    money: Money
    by_meter: Mapping[str, Tally]


class MoneyTotals:
    """Sums over the cases' rows, and over what each commit has recovered."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def at_risk(self, incident: str | None = None) -> AtRisk:
        """Return what all open cases, or those of an incident, put at risk. Raises LedgerUnavailable."""
        theirs = [cases.c.state.in_(_UNSETTLED), cases.c.version > 0]
        if incident is not None:
            of_it = select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident)
            theirs.append(cases.c.id.in_(of_it))
        now = literal(self._clock(), UtcTime)
        counts: list[Any] = [
            func.count().label("cases"),
            cast(func.coalesce(func.sum(_records("failed") - sum(map(_records, SETTLED))), 0), BigInteger).label(
                "records"
            ),
            func.min(case((cases.c.deadline > now, cases.c.deadline))).label("deadline"),
            func.count(case((cases.c.deadline <= now, 1))).label("overdue"),
        ]
        [counted] = self._database.rows(select(*counts).where(*theirs))
        rows = self._database.rows(select(cases.c.meters, cases.c.at_risk).where(*theirs))
        return AtRisk(
            **counted,
            money=added(from_json(row["at_risk"]) for row in rows),
            unpriced=sum(not row["at_risk"] for row in rows),
            by_meter=_most_first(one for row in rows for one in _open(row["meters"])),
        )

    def recovered(self, since: datetime) -> Recovered:
        """Return what was recovered from a moment on. Raises LedgerUnavailable."""
        return _sum(self._database.rows(select(recoveries).where(recoveries.c.at >= since)))

    def recovered_of(self, case_id: str) -> Mapping[str, Recovered]:
        """Return what stands as recovered of a case, by meter. Raises LedgerUnavailable."""
        found: dict[str, list[Any]] = {}
        for row in self._database.rows(select(recoveries).where(recoveries.c.case_id == case_id)):
            found.setdefault(row["meter"], []).append(row)
        return {meter: _sum(rows) for meter, rows in found.items()}


def _sum(rows: Iterable[Mapping[Any, Any]]) -> Recovered:
    rows = list(rows)
    return Recovered(
        records=sum(row["records"] for row in rows),
        money=added(from_json(row["money"]) for row in rows),
        by_meter=_most_first((row["meter"], Tally(row["records"], row["quantity"])) for row in rows),
    )


def _records(bucket: str) -> Any:
    return cast(cases.c.balance[(bucket, "records")].as_string(), BigInteger)


def _open(meters: Mapping[str, Any] | None) -> Iterator[tuple[str, Tally]]:
    """Yield what is not settled of each meter, by what `CaseFacts.columns` has made."""
    for name, balance in (meters or {}).items():
        for bucket in _OPEN:
            if balance[bucket]["records"]:
                yield name, Tally(balance[bucket]["records"], Decimal(balance[bucket]["quantity"]))


def _most_first(named: Iterable[tuple[str, Tally]]) -> dict[str, Tally]:
    sums: dict[str, Tally] = {}
    for name, tally in named:
        sums[name] = sums.get(name, Tally()) + tally
    return dict(sorted(sums.items(), key=lambda one: (-one[1].records, one[0])))
