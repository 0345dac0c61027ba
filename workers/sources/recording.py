"""Usage sources in memory, for tests: they remember what they were asked for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import polars as pl

from workers.records.schema import IDENTIFIER, empty_frame
from workers.sources.usage_sources import Found, settle, wanted


@dataclass
class RecordingUsageSources:
    """Holds one canonical frame of usage, and whole files by base name."""

    records: pl.DataFrame = field(default_factory=empty_frame)
    files: Mapping[str, Path] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def find(self, identifiers: Collection[str] | pl.Series) -> Found:
        """Look records up in the frame."""
        looked_up = wanted(identifiers)
        self.asked.append(tuple(looked_up))
        return settle(looked_up, [self.records.filter(pl.col(IDENTIFIER).is_in(looked_up.implode()))])

    def file(self, name: str) -> Path | None:
        """Return a whole file by its base name."""
        return self.files.get(PurePosixPath(name).name)
