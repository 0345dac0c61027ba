"""What all open cases put at risk, and what was recovered: per currency, and quantities per meter."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Select,
    Text,
    case,
    cast,
    func,
    literal,
    select,
    type_coerce,
)

from workers.kernel.clock import Clock
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Tally
from workers.kernel.ledger.tables import (
    Quantity,
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
        usage: Select[Any] = select(*_narrow(open_usage.c.meter, open_usage.c.records, open_usage.c.quantity))
        money: Select[Any] = select(*_narrow(*open_money.c))
        with self._database.read() as connection:
            counted = connection.execute(
                select(*counts).where(cases.c.state.in_(_UNSETTLED), *_of(cases.c.id, incident))
            )
            by_meter = _by_meter(connection.execute(usage.where(*_of(open_usage.c.case_id, incident))))
            priced, worth = _money(connection.execute(money.where(*_of(open_money.c.case_id, incident))))
            found = dict(counted.mappings().one())
        return AtRisk(**found, money=worth, unpriced=found["cases"] - priced, by_meter=by_meter)

    def recovered(self, since: datetime) -> Recovered:
        """Return what was recovered from a moment on. Raises LedgerUnavailable."""
        rows = self._database.rows(select(recoveries).where(recoveries.c.at >= since))
        return Recovered(
            records=sum(row["records"] for row in rows),
            money=added(from_json(row["money"]) for row in rows),
            by_meter=_most_first((row["meter"], Tally(row["records"], row["quantity"])) for row in rows),
        )


def _of(case_id: Column[Any], incident: str | None) -> list[ColumnElement[bool]]:
    """Tell whether a row is about a case of the incident; nothing to tell where none is named."""
    if incident is None:
        return []
    return [case_id.in_(select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident))]


def _narrow(*columns: Column[Any]) -> Iterator[ColumnElement[Any]]:
    """Take quantities as the text that they are kept as: there may be one for every case."""
    yield from (type_coerce(column, Text) if isinstance(column.type, Quantity) else column for column in columns)


def _by_meter(rows: Iterable[Sequence[Any]]) -> dict[str, Tally]:
    """Add up (meter, records, quantity)."""
    records, quantities = Counter[str](), defaultdict[str, Decimal](Decimal)
    with localcontext(prec=DIGITS):
        for meter, count, quantity in rows:
            records[meter] += count
            quantities[meter] += Decimal(quantity)
    return _most_first((meter, Tally(count, quantities[meter])) for meter, count in records.items())


def _money(rows: Iterable[Sequence[Any]]) -> tuple[int, Money]:
    """Add up (case, currency, low, high); return the number of cases, and the sums."""
    of, lows, highs = set[str](), defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)
    with localcontext(prec=DIGITS):
        for case_id, currency, low, high in rows:
            of.add(case_id)
            lows[currency] += Decimal(low)
            highs[currency] += Decimal(high)
    return len(of), {currency: Amount(low, highs[currency]) for currency, low in lows.items()}


def _most_first(named: Iterable[tuple[str, Tally]]) -> dict[str, Tally]:
    sums: dict[str, Tally] = {}
    for name, tally in named:
        sums[name] = sums.get(name, Tally()) + tally
    return dict(sorted(sums.items(), key=lambda one: (-one[1].records, one[0])))
