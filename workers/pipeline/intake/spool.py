"""Records put down on local disk part by part: all of a file can be read before any is taken in, none in memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from workers.pipeline.context import Context
from workers.pipeline.record_sets import workspace


class Spool:
    """The parts of one file in their order; iterating reads one at a time. `records` counts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Path] = []
        self.records = 0

    def put_down(self, frames: Iterable[pl.DataFrame]) -> None:
        """Take in all of `frames`, or none of them where one cannot be had."""
        parts: list[Path] = []
        records = 0
        for frame in frames:
            parts.append(self._folder / f"{len(parts)}.parquet")
            frame.write_parquet(parts[-1], compression="lz4", statistics=False)
            records += frame.height
        self._parts, self.records = parts, records

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return map(pl.read_parquet, self._parts)


@contextmanager
def spool(context: Context) -> Iterator[Spool]:
    """Open an empty spool whose parts are gone afterwards."""
    with workspace(context) as folder:
        yield Spool(folder)
