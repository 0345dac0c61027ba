"""Usage sources in memory, for tests: they remember what they were asked for."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

import polars as pl

from workers.kernel.clock import from_epoch
from workers.records.schema import IDENTIFIER, WRITTEN, empty_frame
from workers.sources.protocol import ROW_AT, Found, carriers, concerned, same_usage, wanted, written_later


@dataclass
class RecordingUsageSources:
    """Holds one canonical frame of usage, with `WRITTEN` where known, and whole files by base name."""

    records: pl.DataFrame = field(default_factory=empty_frame)
    files: Mapping[str, Path] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def find(self, identifiers: Collection[str] | pl.Series) -> Found:
        """Look records up in the frame."""
        looked_up = wanted(identifiers)
        self.asked.append(tuple(looked_up))
        return Found(carriers([self.records.filter(pl.col(IDENTIFIER).is_in(looked_up.implode()))]))

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        """Yield rows of the frame."""
        yield self.records.filter(concerned(event_names, start, end))

    def earlier(self, records: pl.DataFrame, before: datetime, but: Collection[str]) -> pl.DataFrame:
        """Look the same usage up in the frame; its files have no addresses."""
        del but
        rows = carriers([self.records]).filter(pl.col(WRITTEN) < before)
        return rows[same_usage(records, rows)[ROW_AT].unique().sort()]

    def copies(self, path: Path) -> frozenset[str]:
        """Tell of none: the frame is no file."""
        del path
        return frozenset()

    def file(self, name: str, by: datetime) -> Path | None:
        """Return a whole file by its base name."""
        path = self.files.get(PurePosixPath(name).name)
        written = from_epoch(path.stat().st_mtime) if path else None
        if path and written and written > by:
            raise written_later(str(path), written, by)
        return path
