"""Whom and what cases are about, for whoever is told of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, func, select

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
"""The names of each kind in the records of cases; a kind without any is left out."""


def concerned(database: Database, incident_id: str) -> Concerned:
    """Return whom and what the cases of an incident are about."""
    return _concerned(database, select(incident_cases.c.case_id).where(incident_cases.c.incident_id == incident_id))


def concerned_by(database: Database, case_id: str) -> Concerned:
    """Return whom and what one case is about."""
    return _concerned(database, select(cases.c.id).where(cases.c.id == case_id))


def _concerned(database: Database, theirs: Select[Any]) -> Concerned:
    found = {kind: _names(database, theirs, kind) for kind in NameKind}
    return {kind: names for kind, names in found.items() if names.few}


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
