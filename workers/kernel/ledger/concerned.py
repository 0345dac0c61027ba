"""Whom and what cases are about, for whoever is told of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from sqlalchemy import Select, func, select

from workers.kernel.ledger.appraisal import MOST_PAYERS
from workers.kernel.ledger.case_facts import AND_MORE, NameKind
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import case_names, cases, incident_cases

FEW: Final = 3
"""Names of a kind that are told."""


@dataclass(frozen=True)
class Names:
    """A few of `count` names of one kind, those of the most cases first; `at_least` where not all are kept."""

    few: Sequence[str]
    count: int
    at_least: bool = False


Concerned = Mapping[NameKind, Names]
"""The names of each kind in the records of cases; of customers those with open usage, where somebody has any."""


def concerned(database: Database, incident_id: str) -> Concerned:
    """Return whom and what the cases of an incident are about."""
    return _concerned(database, select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident_id))


def concerned_by(database: Database, case_id: str) -> Concerned:
    """Return whom and what one case is about."""
    return _concerned(database, select(cases.c.id).where(cases.c.id == case_id))


def _concerned(database: Database, theirs: Select[Any]) -> Concerned:
    found = {kind: _names(database, theirs, kind) for kind in NameKind}
    found[NameKind.CUSTOMER] = _payers(database, theirs) or found[NameKind.CUSTOMER]
    return {kind: names for kind, names in found.items() if names.few}


def _payers(database: Database, theirs: Select[Any]) -> Names | None:
    """Return the customers with open usage, the largest of each case first; None where nobody has any."""
    query = select(cases.c.payers).where(cases.c.id.in_(theirs)).order_by(cases.c.id)
    lists = [payers for payers in database.values(query) if payers]
    all_of_them = list(dict.fromkeys(name for rank in zip_longest(*lists) for name in rank if name))
    cut = any(len(payers) >= MOST_PAYERS for payers in lists)
    return Names(all_of_them[:FEW], len(all_of_them), at_least=cut) if all_of_them else None


def _names(database: Database, theirs: Select[Any], kind: NameKind) -> Names:
    name = case_names.c.name
    query = (
        select(name, func.count().over().label("names"), func.min(name).over().label("first"))
        .where(case_names.c.case_id.in_(theirs), case_names.c.kind == kind.value)
        .group_by(name)
        .order_by(name == AND_MORE, func.count().desc(), name)
        .limit(FEW)
    )
    rows = [dict(row) for row in database.rows(query)]
    cut = bool(rows) and rows[0]["first"] == AND_MORE
    few = [str(row["name"]) for row in rows if row["name"] != AND_MORE]
    return Names(few, rows[0]["names"] - cut if rows else 0, at_least=cut)
