"""What all open cases put at risk, and what was recovered: per currency, and quantities per meter."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Text,
    case,
    cast,
    distinct,
    func,
    literal,
    select,
    type_coerce,
)

from workers.kernel.clock import Clock
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.case_facts import added_by_meter
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Tally
from workers.kernel.ledger.tables import (
    UtcTime,
    cases,
    incident_cases,
    open_money,
    open_usage,
    recoveries,
)
from workers.kernel.money import DIGITS, Amount, Money, added, from_json

_UNSETTLED: Final = [state for state in CaseState if state is not CaseState.SETTLED]
"""Named one by one: an index finds them, among however many settled cases."""
_BETWEEN: Final = " "


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
        now = literal(self._clock(), UtcTime)
        counts: list[Any] = [
            func.count().label("cases"),
            cast(func.coalesce(func.sum(cases.c.open_records), 0), BigInteger).label("records"),
            func.min(case((cases.c.deadline > now, cases.c.deadline))).label("deadline"),
            func.count(case((cases.c.deadline <= now, 1))).label("overdue"),
        ]
        unsettled = select(*counts).where(cases.c.state.in_(_UNSETTLED))
        [counted] = self._database.rows(unsettled.where(*_of(cases.c.id, incident)))
        priced = select(func.count(distinct(open_money.c.case_id))).where(*_of(open_money.c.case_id, incident))
        return AtRisk(
            **counted,
            money=self._open_money(incident),
            unpriced=counted["cases"] - self._database.values(priced)[0],
            by_meter=self._open_usage(incident),
        )

    def _open_usage(self, incident: str | None) -> Mapping[str, Tally]:
        columns = open_usage.c.meter, func.sum(open_usage.c.records), _all_of(open_usage.c.quantity)
        query = select(*columns).where(*_of(open_usage.c.case_id, incident)).group_by(open_usage.c.meter)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return added_by_meter((meter, Tally(int(records), _sum(quantities))) for meter, records, quantities in rows)

    def _open_money(self, incident: str | None) -> Money:
        columns = open_money.c.currency, _all_of(open_money.c.low), _all_of(open_money.c.high)
        query = select(*columns).where(*_of(open_money.c.case_id, incident)).group_by(open_money.c.currency)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {currency: Amount(_sum(lows), _sum(highs)) for currency, lows, highs in rows}

    def recovered(self, since: datetime) -> Recovered:
        """Return what was recovered from a moment on. Raises LedgerUnavailable."""
        return _summed(self._database.rows(select(recoveries).where(recoveries.c.at >= since)))

    def recovered_of(self, case_id: str) -> Mapping[str, Recovered]:
        """Return what stands as recovered of a case, by meter. Raises LedgerUnavailable."""
        found: dict[str, list[Any]] = {}
        for row in self._database.rows(select(recoveries).where(recoveries.c.case_id == case_id)):
            found.setdefault(row["meter"], []).append(row)
        return {meter: _summed(rows) for meter, rows in found.items()}


def _summed(rows: Iterable[Mapping[Any, Any]]) -> Recovered:
    rows = list(rows)
    return Recovered(
        records=sum(row["records"] for row in rows),
        money=added(from_json(row["money"]) for row in rows),
        by_meter=added_by_meter((row["meter"], Tally(row["records"], row["quantity"])) for row in rows),
    )


def _of(case_id: Column[Any], incident: str | None) -> list[ColumnElement[bool]]:
    """Tell whether a row is about a case of the incident; nothing to tell where none is named."""
    if incident is None:
        return []
    return [case_id.in_(select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident))]


def _all_of(column: Column[Any]) -> ColumnElement[str]:
    """Return all quantities of a group as one text: databases would round their sum, and a row for each is slow."""
    return func.aggregate_strings(type_coerce(column, Text), _BETWEEN)


def _sum(quantities: str) -> Decimal:
    """Add up what `_all_of` has joined, exactly."""
    with localcontext(prec=DIGITS):
        return sum(map(Decimal, quantities.split(_BETWEEN)), Decimal(0))
