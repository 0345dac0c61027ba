"""Usage sources in memory, for tests: they remember what they were asked for."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

import polars as pl

from workers.records.schema import IDENTIFIER, empty_frame
from workers.sources.usage_sources import Found, carriers, concerned, wanted


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

    def file(self, name: str) -> Path | None:
        """Return a whole file by its base name."""
        return self.files.get(PurePosixPath(name).name)
