"""A table or view that keeps usage which its sender sends by API: one hour of it is what a file is elsewhere.

An hour's rows are those whose watermark, the time at which a row was sent, lies in that hour of UTC. They are
numbered by watermark, then identifier, then all else, so that a row keeps its number while the hour grows. They
come through a cursor of one read-only transaction, thus as they stood at one moment, and none is passed over where
many have the same watermark.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from workers.kernel.errors import SettingsUnusable
from workers.records.notation import evidence_in
from workers.records.schema import (
    EVENT_NAME,
    EVIDENCE,
    IDENTIFIER,
    READER_COLUMNS,
    ROW,
    SOURCE,
    TIMESTAMP,
    WRITTEN,
    dtype_of,
    payload_column,
    with_columns_of,
)
from workers.sources.cells import (
    EPOCH,
    HOUR,
    TICK,
    Condition,
    as_text,
    hour_of,
    is_zoned,
    moment_of,
    ticks_of,
)
from workers.sources.database import SourceDatabase

_ROWS_AT_A_TIME: Final = 50_000
_CELLS: Final = {ROW: pl.Int64(), WRITTEN: pl.Int64()}


@dataclass(frozen=True)
class TableColumns:
    """Which column of a table holds what; `payload` is by payload key."""

    identifier: str
    timestamp: str
    event_name: str
    watermark: str
    payload: Mapping[str, str]

    @property
    def by_our_names(self) -> dict[str, str]:
        """The table's columns by the names that they have in a canonical frame."""
        fixed = {IDENTIFIER: self.identifier, TIMESTAMP: self.timestamp, EVENT_NAME: self.event_name}
        return fixed | {payload_column(key): name for key, name in self.payload.items()}


@dataclass(frozen=True)
class HourFacts:
    """What an hour holds: all its rows, when the last was written, and how many of them are asked for."""

    hour: datetime
    rows: int
    written: datetime
    wanted: int


class UsageTable:
    """One table or view of a database. Every method that reads raises Transient and SettingsUnusable."""

    def __init__(self, url: str, columns: Mapping[str, TableColumns]) -> None:
        self._database = SourceDatabase(url)
        self.location = self._database.location
        if self._database.table not in columns:
            raise self._unfit("nothing says which of its columns holds what", "name them")
        self._columns = columns[self._database.table]

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Open a read-only transaction that sees one state of the table."""
        return self._database.reading()

    def hours(
        self, connection: sa.Connection, first: datetime, last: datetime, wanted: Condition
    ) -> Sequence[datetime]:
        """Return the hours with a wanted row that was written from `first` to `last`, in order."""
        hour = hour_of(self._watermark)
        within = self._written_within(first, last) & wanted(self._cells)
        found = connection.scalars(sa.select(hour).where(within).distinct().order_by(hour))
        return [EPOCH + number * HOUR for number in found]

    def facts(
        self, connection: sa.Connection, first: datetime, last: datetime, wanted: Condition
    ) -> list[HourFacts]:
        """Return what each hour holds of the rows that were written from `first` to `last`."""
        hour, asked = hour_of(self._watermark), sa.func.sum(sa.case((wanted(self._cells), 1), else_=0))
        query = sa.select(hour, sa.func.count(), sa.func.max(ticks_of(self._watermark)), asked).group_by(hour)
        found = connection.execute(query.where(self._written_within(first, last)).order_by(hour))
        return [
            HourFacts(EPOCH + number * HOUR, rows, moment_of(at), int(some)) for number, rows, at, some in found
        ]

    def rows(
        self, connection: sa.Connection, hour: datetime, until: datetime, wanted: Condition
    ) -> Iterator[pl.DataFrame]:
        """Yield the wanted ones of an hour's rows that were written `until` then, as canonical frames, in order."""
        numbered = self._numbered(hour, min(until, hour + HOUR - TICK)).subquery()
        cells = {name: numbered.c[name] for name in self._cells}
        texts = [as_text(cell).label(name) for name, cell in cells.items()]
        query = sa.select(*texts, numbered.c[ROW], ticks_of(numbered.c[WRITTEN]).label(WRITTEN))
        chosen = query.where(wanted(cells)).order_by(numbered.c[ROW])
        streamed = connection.execution_options(stream_results=True, max_row_buffer=_ROWS_AT_A_TIME)
        for page in streamed.execute(chosen).partitions(_ROWS_AT_A_TIME):
            yield self._frame(page, self.name_of(hour))

    def _numbered(self, first: datetime, last: datetime) -> sa.Select[Any]:
        cells = self._cells
        others = [sa.cast(cell, sa.Text) for cell in cells.values()]
        number = sa.func.row_number().over(order_by=[self._watermark, cells[IDENTIFIER], *others])
        columns = [cell.label(name) for name, cell in cells.items()]
        every = sa.select(*columns, number.label(ROW), self._watermark.label(WRITTEN))
        return every.where(self._written_within(first, last))

    def name_of(self, hour: datetime) -> str:
        """Return the address of an hour's rows."""
        return f"{self.location} {hour:%Y-%m-%dT%H}"

    def newest(self) -> datetime | None:
        """Return when the last row was written; None where there is none."""
        with self.reading() as connection:
            found = connection.scalar(sa.select(sa.func.max(ticks_of(self._watermark))))
        return None if found is None else moment_of(found)

    def _frame(self, page: Sequence[Sequence[object]], name: str) -> pl.DataFrame:
        schema = {column: _CELLS.get(column, pl.String()) for column in (*self._cells, ROW, WRITTEN)}
        frame = pl.DataFrame([tuple(row) for row in page], schema, orient="row")
        evidence = evidence_in(frame).text
        return with_columns_of(
            frame.with_columns(
                pl.col(WRITTEN).cast(dtype_of(WRITTEN)),
                pl.lit(name).alias(SOURCE),
                pl.lit(evidence, pl.String).alias(EVIDENCE),
            ),
            READER_COLUMNS,
        )

    def _written_within(self, first: datetime, last: datetime) -> sa.ColumnElement[bool]:
        mark = self._watermark
        if isinstance(mark.type, sa.Integer):
            return mark.between(-((EPOCH - first) // timedelta(seconds=1)), (last - EPOCH) // timedelta(seconds=1))
        return mark.between(first, last)

    @cached_property
    def _table(self) -> sa.TableClause:
        known = self._database.columns()
        names = {*self._columns.by_our_names.values(), self._columns.watermark}
        if missing := sorted(names - set(known)):
            raise self._unfit(
                f"has no column {', '.join(missing)}; it has {', '.join(known)}", "name columns of it"
            )
        mark, time = known[self._columns.watermark], known[self._columns.timestamp]
        if not isinstance(mark, sa.Integer) and not is_zoned(mark):
            raise self._unfit(
                f"{self._columns.watermark} is {mark}, which names no moment",
                "name a timestamptz, or epoch seconds,",
            )
        if isinstance(time, sa.DateTime | sa.Date) and not is_zoned(time):
            raise self._unfit(
                f"{self._columns.timestamp} is {time}, which has no time zone",
                "name a timestamptz, or epoch seconds,",
            )
        return sa.table(
            self._database.name, *(sa.column(name, known[name]) for name in names), schema=self._database.schema
        )

    def _unfit(self, what: str, mend: str) -> SettingsUnusable:
        rule = f"[sources.{self._database.table}] of rules.toml"
        return SettingsUnusable(what, where=self.location, mend=f"{mend} in {rule}; a view may give what is needed")

    @cached_property
    def _cells(self) -> dict[str, sa.ColumnElement[Any]]:
        return {ours: self._table.c[theirs] for ours, theirs in self._columns.by_our_names.items()}

    @cached_property
    def _watermark(self) -> sa.ColumnElement[Any]:
        return self._table.c[self._columns.watermark]
