"""The indexes of small files, kept in memory: on the disk a question costs the more the more files there are.

One memory serves a process, whatever the accounts: its bound is for all of them.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import polars as pl

from workers.sources.facts import PART
from workers.sources.files import SourceFile
from workers.sources.index import HASH

SMALL_BYTES: Final = 1 << 20
_MOST_ROWS: Final = 100_000
"""A file of more bytes or rows is asked on the disk; there are not as many of them."""
_MOST_KEPT: Final = 4_000_000
"""Records whose hashes are kept: 56 MB. Beyond them, too, the disk is asked."""
_SPARE_SECONDS: Final = 3600.0
"""A file about which nobody has asked for so long makes room: most likely it is not there any more."""
_NUMBER: Final = "number"

Hits = dict[SourceFile, list[int]]
"""The numbers of the parts of files that have a wanted hash."""


@dataclass
class _Kept:
    """A file's number among the rows, and when it was asked about last."""

    number: int
    asked_at: float = field(default_factory=time.monotonic)


class SmallIndexes:
    """What stands in the indexes of small files. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[SourceFile, _Kept] = {}
        self._next = count()
        self._rows = pl.DataFrame(schema={HASH: pl.UInt64, PART: pl.UInt16, _NUMBER: pl.UInt32})

    def hits(self, files: Sequence[SourceFile], hashes: pl.Series) -> tuple[Hits, list[SourceFile]]:
        """Return the hits in those files that are kept, and the files that are not."""
        now, asked, others = time.monotonic(), {}, []
        with self._lock:
            for file in files:
                kept = self._kept.get(file)
                if kept is None:
                    others.append(file)
                else:
                    kept.asked_at, asked[kept.number] = now, file
            rows = self._rows.filter(pl.col(HASH).is_in(hashes.implode()))
        hits: Hits = {}
        for number, part in rows.select(_NUMBER, PART).unique().sort(PART).rows():
            if number in asked:
                hits.setdefault(asked[number], []).append(part)
        return hits, others

    def keep(self, paths: Mapping[SourceFile, str]) -> None:
        """Read the indexes of small files in, as far as there is room. Raises as polars does."""
        room, read = self._room(), dict[SourceFile, pl.DataFrame]()
        for file, path in paths.items():
            if room < _MOST_ROWS:
                break
            if file.stored.size <= SMALL_BYTES:
                index = pl.read_parquet(path, columns=[HASH, PART], n_rows=_MOST_ROWS + 1, glob=False)
                if index.height <= _MOST_ROWS:
                    room -= index.height
                    read[file] = index
        with self._lock:
            rows = [self._rows]
            for file, index in read.items():
                if file not in self._kept:
                    kept = self._kept[file] = _Kept(next(self._next))
                    rows.append(index.with_columns(pl.lit(kept.number, pl.UInt32).alias(_NUMBER)))
            self._rows = pl.concat(rows, rechunk=True)

    def _room(self) -> int:
        """Return how many records may be added, having dropped what nobody asks about where they are few."""
        with self._lock:
            if _MOST_KEPT - self._rows.height < _MOST_ROWS:
                since = time.monotonic() - _SPARE_SECONDS
                self._kept = {file: kept for file, kept in self._kept.items() if kept.asked_at >= since}
                numbers = [kept.number for kept in self._kept.values()]
                self._rows = self._rows.filter(pl.col(_NUMBER).is_in(numbers))
            return _MOST_KEPT - self._rows.height


SMALL_INDEXES: Final = SmallIndexes()
"""Those of this process."""
