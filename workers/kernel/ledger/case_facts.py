"""What lists of cases show and are searched by: quantities by meter, the names in the records; what was recovered.

Kept with each commit of a worker that has changed what stands where; a view that no step of a case reads. A case
has up to `MOST_NAMES` names of a kind, so that a million customers are never a million rows.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from workers.kernel.codes import Code
from workers.kernel.ledger.case import VALIDATION_REPORT, Case
from workers.kernel.ledger.journal import Balance, Bucket, Tally
from workers.kernel.ledger.standings import Standing
from workers.kernel.ledger.tables import case_names, recoveries
from workers.kernel.money import Money, to_json

MOST_NAMES: Final = 1_000
"""Names of one kind that are kept of a case."""
AND_MORE: Final = ""
"""Stands among the names of a case that has more of them."""
LONGEST_NAME: Final = 100
"""Characters that are kept of a name."""
SETTLED: Final = (Bucket.CONFIRMED, Bucket.CORRECTED, Bucket.WRITTEN_OFF)

ByMeter = Mapping[str, Mapping[Bucket, Tally]]
"""Event name -> bucket -> what stands there. `""` has what is of no known meter: its quantities are not added."""


class NameKind(StrEnum):
    """What a case can be found by."""

    CUSTOMER = "customer"
    FILE = "file"
    METER = "meter"


@dataclass(frozen=True)
class CaseFacts:
    """What is kept of a case.

    `names` are those of the records that came into its journal up to entry `named`. `recovered` is what was proven
    to count since this was kept last, by meter, and what that is worth; it is negative where more was taken back.
    """

    by_meter: ByMeter
    names: Mapping[NameKind, Collection[str]]
    named: int
    standings: Sequence[Standing] = ()
    recovered: Mapping[str, tuple[Tally, Money]] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Return what of it stands in the case's own row."""
        return {
            "meters": {name: Balance(buckets=buckets).to_json() for name, buckets in self.by_meter.items()},
            "size": size_of(self.by_meter),
            "named": self.named,
        }


def by_meter(meters: Mapping[str, Any] | None) -> ByMeter:
    """Read what `CaseFacts.columns` made of quantities by meter."""
    return {name: Balance.from_json(balance).buckets for name, balance in (meters or {}).items()}


def sole_meter(case: Case) -> ByMeter | None:
    """Return what stands in each bucket of a case whose records are all of one meter, by its own balance."""
    failure = case.failure
    if failure.kind != VALIDATION_REPORT or not failure.event_name or failure.code == Code.NO_METER:
        return None
    return {failure.event_name: {bucket: case.balance[bucket] for bucket in Bucket if case.balance[bucket].records}}


def meters_of(case: Case) -> ByMeter:
    """Return what is kept of a case's quantities by meter; nothing where that was never written down."""
    return sole_meter(case) or by_meter(case.meters)


def open_quantities(of: ByMeter) -> Iterator[tuple[str, Tally]]:
    """Yield each meter with what of it is not settled, the most records first."""
    sums = {
        name: sum((tally for bucket, tally in buckets.items() if bucket not in SETTLED), Tally())
        for name, buckets in of.items()
    }
    yield from sorted(((name, tally) for name, tally in sums.items() if tally.records), key=_most_first)


def total_of(buckets: Mapping[Bucket, Tally]) -> Tally:
    """Return the sum over all buckets of one meter."""
    return sum(buckets.values(), Tally())


def added_by_meter(named: Iterable[tuple[str, Tally]]) -> dict[str, Tally]:
    """Add up what is of each meter, the most records first."""
    sums: dict[str, Tally] = {}
    for name, tally in named:
        sums[name] = sums.get(name, Tally()) + tally
    return dict(sorted(sums.items(), key=_most_first))


def _most_first(named: tuple[str, Tally]) -> tuple[int, str]:
    return -named[1].records, named[0]


def size_of(of: ByMeter) -> str:
    """Return the largest open quantity of any one meter as text that sorts as the number does; empty for none."""
    largest = max((abs(tally.quantity) for name, tally in open_quantities(of) if name), default=Decimal(0))
    return f"{largest:081.15f}" if largest else ""


def confirmed_since(before: ByMeter, now: ByMeter) -> dict[str, Tally]:
    """Return by how much what is confirmed of each meter has grown; nothing where the records are gone."""
    grown = {
        name: now.get(name, {}).get(Bucket.CONFIRMED, Tally())
        + -before.get(name, {}).get(Bucket.CONFIRMED, Tally())
        for name in {**before, **now}
    }
    return {name: tally for name, tally in grown.items() if tally != Tally()} if now else {}


def keep_recovered(connection: Connection, case_id: str, version: int, facts: CaseFacts, at: datetime) -> None:
    """Keep what was recovered of a case up to this version of it."""
    rows = [
        {"case_id": case_id, "version": version, "meter": meter, "records": tally.records, "at": at,
         "quantity": tally.quantity, "money": to_json(money)}
        for meter, (tally, money) in facts.recovered.items()
    ]  # fmt: skip
    if rows:
        connection.execute(insert(recoveries), rows)


def keep_names(connection: Connection, case_id: str, names: Mapping[NameKind, Collection[str]]) -> None:
    """Add names to those of a case, as many as are kept."""
    for kind, new in names.items():
        there = _names_of(connection, case_id, kind)
        fresh = sorted({kept_name(name) for name in new} - there - {AND_MORE})
        room = max(0, MOST_NAMES - len(there - {AND_MORE}))
        added = [*fresh[:room], *([AND_MORE] if len(fresh) > room and AND_MORE not in there else [])]
        if added:
            rows = [{"kind": kind.value, "name": name, "case_id": case_id} for name in added]
            connection.execute(insert(case_names), rows)


def forget_customers(connection: Connection, case_id: str) -> None:
    """Remove the names of the customers in a case's records, with its files."""
    mine = case_names.c.case_id == case_id, case_names.c.kind == NameKind.CUSTOMER.value
    connection.execute(delete(case_names).where(*mine))


def _names_of(connection: Connection, case_id: str, kind: NameKind) -> set[str]:
    mine = case_names.c.case_id == case_id, case_names.c.kind == kind.value
    return set(connection.scalars(select(case_names.c.name).where(*mine)))


def kept_name(name: str) -> str:
    """Return a name as it is kept and searched for: PostgreSQL's text takes no NUL."""
    return name.replace("\0", "").strip()[:LONGEST_NAME]


def cases_named(kind: NameKind, name: str) -> Any:
    """Return the query for the ids of the cases with a name."""
    return select(case_names.c.case_id).where(case_names.c.kind == kind.value, case_names.c.name == kept_name(name))


def cases_with_more(kinds: Sequence[NameKind]) -> Any:
    """Return the query for the ids of the cases that have more names than are kept."""
    cut = case_names.c.name == AND_MORE
    return select(case_names.c.case_id).where(case_names.c.kind.in_([kind.value for kind in kinds]), cut)
