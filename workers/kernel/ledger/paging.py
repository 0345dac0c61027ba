"""Lists by pages: each page begins behind the last row of the one before, whatever has come in meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar

from sqlalchemy import Column, ColumnElement, RowMapping, Select, and_, literal, or_, true

from workers.kernel.clock import from_text, to_text
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import UtcTime

Row = TypeVar("Row")
_MARK: Final = "~"
"""Stands between the parts of a place; neither a time nor a size has it."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows of a list. `after` is what to ask for to get the next ones, None where there are no more."""

    rows: Sequence[Row]
    after: str | None


@dataclass(frozen=True)
class Stretch:
    """A part of a list: which rows stand in it, and the column of theirs that orders them."""

    by: Column[Any]
    descending: bool = True
    rows: ColumnElement[bool] | None = None


@dataclass(frozen=True)
class _Place:
    """The last row of a page: in which stretch it stands, what orders it there, and its id, by which ties go."""

    stretch: int
    value: str
    id: str

    @classmethod
    def read(cls, text: str | None, stretches: int) -> Self | None:
        """Return the place that an address names in a list of so many stretches; None where it names none."""
        stretch, _, rest = (text or "").partition(_MARK)
        value, mark, row_id = rest.partition(_MARK)
        return cls(int(stretch), value, row_id) if mark and stretch in map(str, range(stretches)) else None

    def __str__(self) -> str:
        return _MARK.join((str(self.stretch), self.value, self.id))


def page(
    database: Database,
    query: Select[Any],
    stretches: Sequence[Stretch],
    ids: Column[Any],
    limit: int,
    after: str | None,
) -> Page[RowMapping]:
    """Return up to `limit` rows of the stretches, one after the other; a place that makes no sense is the start.

    The query has to select the columns that order the stretches, and the ids.
    """
    place = _Place.read(after, len(stretches))
    found: list[tuple[int, RowMapping]] = []
    for number, stretch in enumerate(stretches):
        if len(found) > limit or (place and number < place.stretch):
            continue
        beyond = _beyond(stretch, ids, place) if place and number == place.stretch else true()
        order = stretch.by.desc() if stretch.descending else stretch.by.asc()
        chosen = query.where(beyond, true() if stretch.rows is None else stretch.rows)
        rows = database.rows(chosen.order_by(order, ids).limit(limit + 1 - len(found)))
        found += [(number, row) for row in rows]
    shown = found[:limit]
    if len(found) <= limit or not shown:
        return Page([row for _, row in shown], None)
    number, last = shown[-1]
    return Page(
        [row for _, row in shown], str(_Place(number, _text(last[stretches[number].by.name]), last[ids.name]))
    )


def _beyond(stretch: Stretch, ids: Column[Any], place: _Place) -> ColumnElement[bool]:
    """Tell which rows come after a place: written so that the index of the column finds where they begin."""
    column = stretch.by
    try:
        value = literal(from_text(place.value) if isinstance(column.type, UtcTime) else place.value, column.type)
    except ValueError:
        return true()
    up_to, before = (column <= value, column < value) if stretch.descending else (column >= value, column > value)
    return and_(up_to, or_(before, ids > place.id))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_text(value)
