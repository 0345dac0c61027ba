"""Files and tables of one sender, asked as one."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from workers.records.catalog import Catalog
from workers.records.schema import WRITTEN
from workers.records.validation import Standard
from workers.sources.protocol import Candidate, Candidates, FoundUsage, UsageSources, carriers
from workers.sources.table_search import TableUsageSource


@dataclass(frozen=True)
class JoinedUsageSources:
    """Usage sources that are files and tables; only files have names and copies."""

    files: UsageSources
    tables: Sequence[TableUsageSource]

    def find(self, identifiers: Collection[str] | pl.Series) -> FoundUsage:
        found = [self.files.find(identifiers), *(table.find(identifiers) for table in self.tables)]
        return FoundUsage(_oldest_first([one.rows for one in found]), _lines(one.unusable for one in found))

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        yield from self.files.rows(event_names, start, end)
        for table in self.tables:
            yield from table.rows(event_names, start, end)

    def candidates(self, event_names: Collection[str] | None, start: datetime, end: datetime) -> Candidates:
        of_tables = [table.candidates(event_names, start, end) for table in self.tables]
        found = [self.files.candidates(event_names, start, end), *of_tables]
        files = sorted((file for one in found for file in one.files), key=lambda file: file.written)
        return Candidates(files, _lines(one.unusable for one in found))

    def rows_of(self, candidate: Candidate, event_names: Collection[str] | None) -> Iterator[pl.DataFrame]:
        return (self._table_of(candidate) or self.files).rows_of(candidate, event_names)

    def doubtful(self, candidate: Candidate, event_name: str, standard: Standard) -> Iterator[pl.DataFrame]:
        table = self._table_of(candidate)
        if table is None:
            return self.files.doubtful(candidate, event_name, standard)
        return table.rows_of(candidate, [event_name])

    def customers(self, candidate: Candidate, event_name: str, catalog: Catalog) -> pl.Series:
        return (self._table_of(candidate) or self.files).customers(candidate, event_name, catalog)

    def earlier(self, records: pl.DataFrame, before: datetime, but: Collection[str]) -> pl.DataFrame:
        of_tables = [table.earlier(records, before) for table in self.tables]
        return _oldest_first([self.files.earlier(records, before, but), *of_tables])

    def prepare(self, seconds: float) -> int:
        return self.files.prepare(seconds)

    def copies(self, path: Path) -> frozenset[str]:
        return self.files.copies(path)

    def file(self, name: str, by: datetime) -> Path | None:
        return self.files.file(name, by)

    def _table_of(self, candidate: Candidate) -> TableUsageSource | None:
        return next((table for table in self.tables if table.has(candidate)), None)


def _oldest_first(rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return carriers(rows).sort(WRITTEN, maintain_order=True)


def _lines(unusable: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(line for lines in unusable for line in lines)
