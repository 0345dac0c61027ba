"""What all cases add up to, kept with each commit to one of them: a look costs the same however many there are.

It is kept by lanes as the chain is, so that no commit waits for every other's, and `prove` counts it anew.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from sqlalchemy import Connection, Integer, Text, cast, delete, insert, literal, null, select, union_all, update

from workers.kernel.errors import Corrupt
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Balance
from workers.kernel.ledger.links import LANES, lane_of
from workers.kernel.ledger.tables import case_totals, cases


@dataclass(frozen=True)
class Totals:
    """The balance over cases that have entries, and how many of them are in each state."""

    balance: Balance = field(default_factory=Balance)
    states: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> Self:
        return cls(case.balance, {case.state: 1}) if case.version else cls()

    def __add__(self, other: Self) -> "Totals":
        return Totals(self.balance + other.balance, Counter(self.states) + Counter(other.states))

    def __sub__(self, other: Self) -> "Totals":
        return Totals(self.balance + -other.balance, Counter(self.states) - Counter(other.states))

    def to_json(self) -> dict[str, Any]:
        return {"balance": self.balance.to_json(), "states": dict(self.states)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(Balance.from_json(data["balance"]), data["states"])


NO_TOTALS: Final = Totals()


def keep(connection: Connection, before: Case, after: Case) -> None:
    """Change the totals of a case's lane as a commit changes the case; the lane's other writers wait.

    Raises Corrupt when they are missing.
    """
    here = case_totals.c.lane == lane_of(after.id)
    kept = connection.scalar(select(case_totals.c.totals).where(here).with_for_update())
    if kept is None:
        raise Corrupt(f"the totals of lane {lane_of(after.id)} are missing")
    totals = Totals.from_json(kept) - Totals.of(before) + Totals.of(after)
    connection.execute(update(case_totals).where(here).values(totals=totals.to_json()))


def recount(connection: Connection) -> None:
    """Add up all cases anew: those of a ledger that kept no totals yet."""
    query = select(cases.c.id, cases.c.state, cases.c.balance).where(cases.c.version > 0)
    totals = _added_up(connection.execute(query))
    connection.execute(delete(case_totals))
    rows = [{"lane": lane, "totals": total.to_json()} for lane, total in totals.items()]
    connection.execute(insert(case_totals), rows)


def _added_up(rows: Iterable[Sequence[Any]]) -> dict[int, Totals]:
    """Return lane -> totals of all (id, state, balance)."""
    totals = dict.fromkeys(range(LANES), NO_TOTALS)
    for case_id, state, balance in rows:
        totals[lane_of(case_id)] += Totals(Balance.from_json(balance), {state: 1})
    return totals


class CaseTotals:
    """Reading the case_totals table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_all(self) -> Totals:
        """Return what all cases add up to."""
        return sum(map(Totals.from_json, self._database.values(select(case_totals.c.totals))), NO_TOTALS)

    def wrong(self) -> Iterator[int]:
        """Yield the lanes whose cases, counted anew, add up to something else. One query sees one moment."""
        of_case = select(
            null().cast(Integer).label("lane"), cases.c.id, cases.c.state, cases.c.balance.label("sum")
        )
        of_lane = select(case_totals.c.lane, cast(literal(""), Text), cast(literal(""), Text), case_totals.c.totals)
        rows = self._database.rows(union_all(of_case.where(cases.c.version > 0), of_lane))
        kept = {row["lane"]: Totals.from_json(row["sum"]) for row in rows if row["lane"] is not None}
        counted = _added_up((row["id"], row["state"], row["sum"]) for row in rows if row["lane"] is None)
        yield from (lane for lane, totals in counted.items() if totals + NO_TOTALS != kept.get(lane))
