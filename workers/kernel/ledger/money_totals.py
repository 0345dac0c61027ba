"""What all open cases put at risk, and what was recovered: per currency, and quantities per meter."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.case_facts import SETTLED, by_meter, open_quantities
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Balance, Tally
from workers.kernel.ledger.tables import cases, incident_cases, recoveries
from workers.kernel.money import Money, added, from_json


@dataclass(frozen=True)
class AtRisk:
    """What stands open: over `cases` cases `records` records.

    `by_meter` is event name -> what is open of it. `unpriced` counts the cases of which no price is known.
    `deadline` is the nearest one of any.
    """

    cases: int
    records: int
    money: Money
    unpriced: int
    by_meter: Mapping[str, Tally]
    deadline: datetime | None


@dataclass(frozen=True)
class Recovered:
    """Usage that was refused and is proven to count now, and what it is worth; what was taken back counts off."""

    records: int
    money: Money
    by_meter: Mapping[str, Tally]


class MoneyTotals:
    """Sums over the cases' rows, and over what each commit has recovered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def at_risk(self, incident: str | None = None) -> AtRisk:
        """Return what all open cases, or those of an incident, put at risk. Raises LedgerUnavailable."""
        columns = cases.c.balance, cases.c.meters, cases.c.at_risk, cases.c.deadline
        query = select(*columns).where(cases.c.state != CaseState.SETTLED, cases.c.version > 0)
        if incident is not None:
            theirs = select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident)
            query = query.where(cases.c.id.in_(theirs))
        rows = self._database.rows(query)
        open_now = (open_quantities(by_meter(row["meters"])) for row in rows)
        return AtRisk(
            cases=len(rows),
            records=sum(_open_records(row["balance"]) for row in rows),
            money=added(from_json(row["at_risk"]) for row in rows),
            unpriced=sum(not row["at_risk"] for row in rows),
            by_meter=_most_first(one for of_case in open_now for one in of_case),
            deadline=min(filter(None, (row["deadline"] for row in rows)), default=None),
        )

    def recovered(self, since: datetime) -> Recovered:
        """Return what was recovered from a moment on. Raises LedgerUnavailable."""
        rows = self._database.rows(select(recoveries).where(recoveries.c.at >= since))
        return Recovered(
            records=sum(row["records"] for row in rows),
            money=added(from_json(row["money"]) for row in rows),
            by_meter=_most_first((row["meter"], Tally(row["records"], row["quantity"])) for row in rows),
        )


def _open_records(kept: Mapping[str, Any]) -> int:
    balance = Balance.from_json(kept)
    return balance.failed.records - sum(balance[bucket].records for bucket in SETTLED)


def _most_first(named: Iterable[tuple[str, Tally]]) -> dict[str, Tally]:
    sums: dict[str, Tally] = {}
    for name, tally in named:
        sums[name] = sums.get(name, Tally()) + tally
    return dict(sorted(sums.items(), key=lambda one: (-one[1].records, one[0])))
