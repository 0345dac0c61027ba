"""Finding cases by what is known of them, in the order that a person wants; every order has its index."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select

from workers.kernel.ledger.case import Case, CaseState, case_of
from workers.kernel.ledger.case_facts import NameKind, cases_named, cases_with_more
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.paging import Page, Stretch, page
from workers.kernel.ledger.standings import has_code
from workers.kernel.ledger.tables import cases, incident_cases

SEARCHED: Final = 20_000
"""Cases that a search for text looks at, the latest changed first: no index helps it."""


class CaseOrder(StrEnum):
    """What comes first; `risk` is money by time left (`appraisal`)."""

    CHANGED = "changed"
    RISK = "risk"
    QUANTITY = "quantity"
    AGE = "age"
    DEADLINE = "deadline"


_BY_CHANGE: Final = Stretch(cases.c.changed_at)
_STRETCHES: Final[Mapping[CaseOrder, Sequence[Stretch]]] = {
    CaseOrder.CHANGED: (_BY_CHANGE,),
    CaseOrder.AGE: (Stretch(cases.c.opened_at, descending=False, rows=cases.c.version > 0),),
    CaseOrder.QUANTITY: (
        Stretch(cases.c.size, rows=cases.c.size > ""),
        replace(_BY_CHANGE, rows=cases.c.size == ""),
    ),
    CaseOrder.RISK: (
        Stretch(cases.c.urgent_at, descending=False, rows=cases.c.urgent_at.is_not(None)),
        replace(_BY_CHANGE, rows=and_(cases.c.urgent_at.is_(None), cases.c.state != CaseState.SETTLED)),
        replace(_BY_CHANGE, rows=and_(cases.c.urgent_at.is_(None), cases.c.state == CaseState.SETTLED)),
    ),
    CaseOrder.DEADLINE: (
        Stretch(cases.c.deadline, descending=False, rows=cases.c.deadline.is_not(None)),
        replace(_BY_CHANGE, rows=cases.c.deadline.is_(None)),
    ),
}
"""What comes first in each order; what has nothing to be ordered by comes last, the last changed first.

By risk, what is lost already comes after what can be saved, and what is settled after that.
"""


@dataclass(frozen=True)
class CaseFilter:
    """Which cases are meant; nothing named means all of them.

    `customer`, `file` and `meter` are whole names; `text` is part of what a case says of itself, in either case, or
    one of those names.
    """

    states: Sequence[CaseState] = ()
    code: str | None = None
    meter: str | None = None
    customer: str | None = None
    file: str | None = None
    opened_before: datetime | None = None
    lost_before: datetime | None = None
    text: str | None = None
    incident: str | None = None

    @property
    def names(self) -> dict[NameKind, str]:
        """The names that it asks for."""
        asked = {NameKind.CUSTOMER: self.customer, NameKind.FILE: self.file, NameKind.METER: self.meter}
        return {kind: name for kind, name in asked.items() if name is not None}


class CaseList:
    """Lists of cases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, wanted: CaseFilter, order: CaseOrder = CaseOrder.CHANGED, limit: int = 100) -> Sequence[Case]:
        """Return cases in an order; those that have nothing to be ordered by come last."""
        return self.page(wanted, order, limit).rows

    def page(
        self, wanted: CaseFilter, order: CaseOrder = CaseOrder.CHANGED, limit: int = 100, after: str | None = None
    ) -> Page[Case]:
        """Return the cases that come after a place in the list."""
        query = select(cases).where(*_conditions(wanted))
        found = page(self._database, query, _STRETCHES[order], cases.c.id, limit, after)
        return Page(list(map(case_of, found.rows)), found.after)

    def of(self, case_ids: Collection[str]) -> Mapping[str, Case]:
        """Return those of some cases that are there, by their ids."""
        rows = self._database.rows(select(cases).where(cases.c.id.in_(case_ids)))
        return {row["id"]: case_of(row) for row in rows}

    def count(self, wanted: CaseFilter) -> int:
        """Return how many cases are meant."""
        query = select(func.count()).select_from(cases).where(*_conditions(wanted))
        return int(self._database.values(query)[0])

    def not_all_named(self, wanted: CaseFilter) -> int:
        """Return how many cases have more names of the kinds that are asked for than are kept."""
        if not wanted.names:
            return 0
        cut = cases_with_more(list(wanted.names)).subquery()
        return int(self._database.values(select(func.count(func.distinct(cut.c.case_id))))[0])


def _conditions(wanted: CaseFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        # One alone as such: an index finds it in order then.
        [only, *more] = wanted.states
        found.append(cases.c.state.in_(list(wanted.states)) if more else cases.c.state == only)
    if wanted.code is not None:
        found.append(or_(cases.c.code == wanted.code, has_code(cases.c.id, wanted.code)))
    if wanted.opened_before is not None:
        found.append(cases.c.opened_at <= wanted.opened_before)
    if wanted.lost_before is not None:
        found.append(cases.c.deadline <= wanted.lost_before)
    if wanted.incident is not None:
        theirs = select(incident_cases.c.case_id).where(incident_cases.c.incident_id == wanted.incident)
        found.append(cases.c.id.in_(theirs))
    if wanted.text is not None:
        found.append(_says(wanted.text))
    return [*found, *(cases.c.id.in_(cases_named(kind, name)) for kind, name in wanted.names.items())]


def _says(text: str) -> ColumnElement[bool]:
    """Tell whether one of the latest cases says this of itself, or any case has records with this whole name."""
    latest = select(cases.c.id).order_by(cases.c.changed_at.desc()).limit(SEARCHED).subquery()
    said = (cases.c.id, cases.c.summary, cases.c.code, cases.c.event_name, cases.c.trouble)
    of_itself = or_(*(column.icontains(text, autoescape=True) for column in said))
    named = (cases.c.id.in_(cases_named(kind, text)) for kind in NameKind)
    return or_(cases.c.id.in_(select(latest.c.id)) & of_itself, *named)
