"""Looking usage up in a table of the sender's, as `search` does in his files: an hour of the table is a file."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, TypeVar

import polars as pl

from workers.kernel.clock import Clock, utc_now
from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.schema import IDENTIFIER, MAX_AHEAD, TIMESTAMP
from workers.sources.cells import Condition, may_tell, of_identifiers, of_names, timed
from workers.sources.files import LOOK_BACK
from workers.sources.protocol import (
    ROW_AT,
    Candidate,
    Candidates,
    FoundUsage,
    carriers,
    concerned,
    gone,
    same_usage,
    wanted,
)
from workers.sources.tables import HourFacts, TableColumns, UsageTable

_TEXTS_AT_A_TIME: Final = 1_000
_Sliced = TypeVar("_Sliced", pl.Series, pl.DataFrame)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)


class TableUsageSource:
    """One table or view, named as `SourceDatabase` reads it; `columns` are by table.

    An hour as it stood at a moment has the rows whose watermark is not later: like a file, it is asked for by when
    it was last written, and its version changes with the number of its rows and their last watermark.
    """

    def __init__(self, url: str, columns: Mapping[str, TableColumns], *, clock: Clock = utc_now) -> None:
        self._table = UsageTable(url, columns)
        self._clock = clock

    def find(self, identifiers: Collection[str] | pl.Series) -> FoundUsage:
        """Look records up by their identifiers, among rows of the last 36 days."""
        texts = wanted(identifiers)
        found = [part for some in _slices(texts) for part in self._rows(of_identifiers(some.to_list()))]
        return FoundUsage(carriers(found))

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        """Yield rows as `UsageSources.rows` does."""
        for part in self._rows(timed(start, end), first=start - MAX_AHEAD):
            yield part.filter(concerned(event_names, start, end))

    def candidates(self, event_names: Collection[str] | None, start: datetime, end: datetime) -> Candidates:
        """Return the hours, as they stood at `end`, that were last written since `start`."""
        with self._table.reading() as connection:
            hours = self._table.facts(connection, _hour_of(start), end, of_names(event_names))
        files = [
            Candidate(self._table.name_of(facts.hour), self._version(facts), facts.written, facts.wanted)
            for facts in hours
            if facts.written >= start and facts.wanted
        ]
        return Candidates(files)

    def has(self, candidate: Candidate) -> bool:
        """Tell whether the candidate is an hour of this table."""
        return candidate.location == self._table.name_of(_hour_of(candidate.written))

    def rows_of(self, candidate: Candidate, event_names: Collection[str] | None) -> Iterator[pl.DataFrame]:
        """Yield an hour's rows as it stood when it was named; raises FileUnusable when it is another by now."""
        hour, names = _hour_of(candidate.written), of_names(event_names)
        with self._table.reading() as connection:
            facts = self._table.facts(connection, hour, candidate.written, names)
            if [self._version(one) for one in facts] != [candidate.version]:
                raise gone(candidate)
            yield from self._table.rows(connection, hour, candidate.written, names)

    def customers(self, candidate: Candidate, event_name: str, catalog: Catalog) -> pl.Series:
        """Return the customers of an hour's rows, each once; raises as `rows_of` does."""
        none = pl.Series(CUSTOMER_ID, dtype=pl.String)
        found = [catalog.resolve(part)[CUSTOMER_ID] for part in self.rows_of(candidate, [event_name])]
        return pl.concat([none, *found]).drop_nulls().unique()

    def earlier(self, records: pl.DataFrame, before: datetime) -> pl.DataFrame:
        """Return rows that tell the same usage as one of the records and were written before."""
        last = before - timedelta(microseconds=1)
        found = [part for some in _slices(records) for part in self._rows(_telling(some), last=last)]
        rows = carriers(found).unique(maintain_order=True)
        return rows[same_usage(records, rows)[ROW_AT].unique().sort()]

    @property
    def location(self) -> str:
        """The table's address, fit to be shown."""
        return self._table.location

    def newest(self) -> datetime | None:
        """Return when the last row was written, None where there is none. Raises Transient and SettingsUnusable."""
        return self._table.newest()

    def _rows(
        self, wanted: Condition, *, first: datetime | None = None, last: datetime = _LATEST
    ) -> Iterator[pl.DataFrame]:
        """Yield the wanted rows of the last 36 days, the oldest hour first; each hour is read by itself."""
        since = max(filter(None, [first, self._clock() - LOOK_BACK]))
        with self._table.reading() as connection:
            hours = self._table.hours(connection, since, last, wanted)
        for hour in hours:
            with self._table.reading() as connection:
                yield from self._table.rows(connection, hour, last, wanted)

    def _version(self, facts: HourFacts) -> str:
        text = f"{self._table.name_of(facts.hour)}\n{facts.rows}\n{facts.written}"
        return sha256(text.encode()).hexdigest()[:24]


def _slices(things: _Sliced) -> Iterator[_Sliced]:
    """Cut identifiers or records so that each question has a bounded number of values in it."""
    return (things.slice(start, _TEXTS_AT_A_TIME) for start in range(0, len(things), _TEXTS_AT_A_TIME))


def _telling(records: pl.DataFrame) -> Condition:
    identifiers, times = (records[name].drop_nulls().unique().to_list() for name in (IDENTIFIER, TIMESTAMP))
    return may_tell(identifiers, times)


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
