"""Finding the records that share a key, in files too large for memory.

Records are numbered on from file to file here: the second file's first record comes after the first file's last.

1. Each part's keys are hashed to 64 bits and spooled to a temporary file: 8 bytes a record.
2. The spool is gone through by ranges of the hash, each small enough to sort in memory; records whose hash occurs
   twice are candidates.
3. Only parts with candidates are read again, and candidates are compared by the key itself, so that two keys that
   happen to share a hash are never taken for one.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import polars as pl

from workers.records.files.decode import temporary_room
from workers.records.files.layout import Part
from workers.records.files.usage_file import UsageFile
from workers.records.schema import ROW

BATCH: Final = 2_000_000
"""Records sorted or compared at a time: about 100 MiB."""
HASH: Final = "hash"
KEY: Final = "key"
FIRST: Final = "@first"
LAST: Final = "@last"
OWN_ROW: Final = "@own_row"
"""A record's row in its own file."""
REPEATS_SCHEMA: Final = {ROW: pl.Int64, FIRST: pl.Int64, LAST: pl.Int64}


def hashed(key: pl.Expr) -> pl.Expr:
    """Return 64 bits that equal keys share, and different ones hardly ever."""
    return key.hash()


@dataclass(frozen=True)
class Portion:
    """A part of one of the files; `before` are the records of the files that come before it."""

    file: UsageFile
    part: Part
    before: int

    @property
    def first(self) -> int:
        return self.before + self.part.first_row

    @property
    def end(self) -> int:
        """The number behind the last record."""
        return self.first + self.part.rows


class RepeatFinder:
    """Collects one key of every part, then tells which records repeat it. Parts may be added by several threads."""

    def __init__(self, key: pl.Expr, columns: Sequence[str]) -> None:
        self._columns = columns
        self._key = key.alias(KEY)
        with temporary_room():
            self._spool = tempfile.TemporaryDirectory(prefix="metermend-")
        self._portions: dict[int, Portion] = {}

    @property
    def hash(self) -> pl.Expr:
        """The key's hash, null where a record has no key."""
        return pl.when(self._key.is_not_null()).then(hashed(self._key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.cleanup()

    def add(self, portion: Portion, rows: pl.Series, hashes: pl.Series) -> None:
        """Take in what the rows of a part have as `hash`. Raises FileUnusable where there is no room for it."""
        if not portion.part.rows:
            return  # it has the same number as the part behind it
        known = pl.DataFrame({HASH: hashes, ROW: rows + portion.before}).drop_nulls(HASH)
        with temporary_room():
            known.write_ipc(self._path(portion), compression="uncompressed")
        self._portions[portion.first] = portion

    def repeats(self) -> pl.DataFrame:
        """Return `@row`, `@first`, `@last` of each record whose key another record has, sorted by `@row`."""
        candidates = self._candidates()
        found = [self._compared(batch) for batch in _batches(candidates)]
        return pl.concat([pl.DataFrame(schema=REPEATS_SCHEMA), *found]).sort(ROW)

    def _path(self, portion: Portion) -> Path:
        return Path(self._spool.name) / f"{portion.first}.arrow"

    def _candidates(self) -> pl.DataFrame:
        """Return `hash` and row of the records whose hash occurs twice, sorted by hash."""
        empty = pl.DataFrame(schema={HASH: pl.UInt64, ROW: pl.Int64})
        if not self._portions:
            return empty
        spool = pl.scan_ipc([self._path(portion) for portion in self._portions.values()])
        batches = 1 + sum(portion.part.rows for portion in self._portions.values()) // BATCH
        found = []
        for batch in range(batches):
            low, high = (edge * (1 << 64) // batches for edge in (batch, batch + 1))
            within = (pl.col(HASH) >= pl.lit(low, pl.UInt64)) & (pl.col(HASH) <= pl.lit(high - 1, pl.UInt64))
            found.append(_shared(spool.filter(within).collect()))
        return pl.concat([empty, *found])

    def _compared(self, candidates: pl.DataFrame) -> pl.DataFrame:
        """Read the candidates' keys and return those that are really the same."""
        rows = candidates[ROW].sort()
        read = read_rows(self._portions.values(), rows, self._columns)
        by_key = pl.concat(records.select(ROW, self._key) for records in read).with_columns(
            pl.col(ROW).min().over(KEY).alias(FIRST), pl.col(ROW).max().over(KEY).alias(LAST)
        )
        return by_key.filter(pl.col(FIRST) < pl.col(LAST)).select(ROW, FIRST, LAST)


def read_rows(portions: Iterable[Portion], rows: pl.Series, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield the records with these numbers (sorted), by part, with `OWN_ROW`. Reads parts that hold one only."""
    for portion in portions:
        first, last = (rows.search_sorted(row) for row in (portion.first, portion.end))
        if first < last:
            chosen = (rows[first:last] - portion.before).to_frame(ROW)
            records = portion.file.read(portion.part, columns).join(chosen, on=ROW, how="semi")
            yield records.with_columns(pl.col(ROW) + portion.before, pl.col(ROW).alias(OWN_ROW))


def _shared(records: pl.DataFrame) -> pl.DataFrame:
    """Return the records whose hash another has too, sorted by hash; to sort all of them with rows costs thrice."""
    ordered = records[HASH].sort()
    shared = ordered.filter((ordered == ordered.shift(1)).fill_null(value=False)).unique()
    return records.filter(pl.col(HASH).is_in(shared.implode())).sort(HASH)


def _batches(candidates: pl.DataFrame) -> list[pl.DataFrame]:
    """Split candidates, sorted by hash, into batches of about `BATCH` that never separate equal hashes."""
    batches, start = [], 0
    while start < candidates.height:
        end = min(start + BATCH, candidates.height)
        if end < candidates.height:
            end += int((candidates[HASH][end:] == candidates[HASH][end - 1]).sum())
        batches.append(candidates[start:end])
        start = end
    return batches
