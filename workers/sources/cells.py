"""What may be asked of the cells of a table, and how they become text.

A cell becomes text in the database: an exact number never passes through a float.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
TICK: Final = timedelta(microseconds=1)
_LAST_TICK: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // TICK
_TICKS_A_SECOND: Final = sa.literal_column("1000000", sa.BigInteger)

Cells = Mapping[str, sa.ColumnElement[Any]]
"""The columns of a table by their names in a canonical frame."""
Condition = Callable[[Cells], sa.ColumnElement[bool]]


def of_names(event_names: Collection[str] | None) -> Condition:
    """Ask for rows of these event names, exactly so written; None: of any."""
    if event_names is None:
        return lambda _: sa.true()
    return lambda cells: sa.cast(cells[EVENT_NAME], sa.Text).in_(sorted(event_names))


def of_identifiers(texts: Sequence[str]) -> Condition:
    """Ask for rows that carry one of these identifiers, in the type of their column so that its index serves."""
    return lambda cells: cells[IDENTIFIER].in_(_in_type(texts, cells[IDENTIFIER].type))


def may_tell(identifiers: Sequence[str], times: Sequence[str]) -> Condition:
    """Ask for rows that have one of the identifiers or, without one, one of these timestamps."""

    def wanted(cells: Cells) -> sa.ColumnElement[bool]:
        nameless = sa.func.trim(sa.func.coalesce(sa.cast(cells[IDENTIFIER], sa.Text), "")) == ""
        return of_identifiers(identifiers)(cells) | (nameless & as_text(cells[TIMESTAMP]).in_(times))

    return wanted


def timed(start: datetime, end: datetime) -> Condition:
    """Ask for rows whose time lies from `start` to `end`, or cannot be told to lie elsewhere by its type."""
    first, last = int(start.timestamp()), int(end.timestamp())

    def wanted(cells: Cells) -> sa.ColumnElement[bool]:
        time = cells[TIMESTAMP]
        if is_zoned(time.type):
            return time.between(start - timedelta(seconds=1), end)
        if isinstance(time.type, sa.Integer):
            return time.between(first, last) | ~time.between(10**9, 10**10 - 1)
        return sa.true()

    return wanted


def is_zoned(kind: sa.types.TypeEngine[Any]) -> bool:
    """Tell whether a type is that of a time with its zone."""
    return isinstance(kind, sa.DateTime) and kind.timezone


def hour_of(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Return the hours since 1970 of a time or of epoch seconds."""
    return ticks_of(moment) // sa.literal_column(str(HOUR // TICK), sa.BigInteger)


def ticks_of(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Return microseconds since 1970 of a time or of epoch seconds."""
    if isinstance(moment.type, sa.Integer):
        return sa.cast(moment, sa.BigInteger) * _TICKS_A_SECOND
    return sa.cast(sa.extract("epoch", moment) * _TICKS_A_SECOND, sa.BigInteger)


def moment_of(ticks: int) -> datetime:
    """Return the time that is so many microseconds after 1970, at most the last that there is."""
    return EPOCH + min(ticks, _LAST_TICK) * TICK


def as_text(cell: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Write a cell as the text that it stands for: a time as epoch seconds, a number as a plain decimal."""
    if is_zoned(cell.type):
        return sa.cast(sa.cast(sa.func.floor(sa.extract("epoch", cell)), sa.BigInteger), sa.Text)
    if isinstance(cell.type, sa.Float):
        return sa.cast(sa.cast(cell, sa.Numeric), sa.Text)
    return sa.cast(cell, sa.Text)


def _in_type(texts: Sequence[str], kind: sa.types.TypeEngine[Any]) -> list[Any]:
    """Return those values of a column's type that are written as one of the texts."""
    made = kind.python_type if isinstance(kind, sa.Integer | sa.Numeric | sa.Uuid) else str
    values = []
    for text in texts:
        with suppress(ValueError, ArithmeticError):
            if str(value := made(text)) == text:
                values.append(value)
    return values
