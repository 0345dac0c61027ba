"""The rows of a failed-records file as the records that they tell: one may stand there once for each of its errors.

Stripe publishes no schema of these files (Stripe docs, "Record usage in bulk": the complete list of failed records
with detailed error descriptions). Rows with one row number of the original are one record, and so are equal rows
with one identifier. Equal rows with neither may be one row told twice, or two: one of them is kept, and the count
that the import set gives says how many there are. What the count does not bear out waits for a person.

In memory stand the hashes of all rows, and the texts of those that tell a record again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.reasons import ALREADY_EXISTS, ROW_CONTRADICTED, ROW_COUNT_DIFFERS
from workers.records.identifiers import content, is_nameless, with_identifiers
from workers.records.schema import (
    CODE,
    IDENTIFIER,
    MESSAGE,
    REASON,
    REQUIRED_COLUMNS,
    ROW,
    SUGGESTION,
    with_columns_of,
)

NUMBERED: Final = "@numbered"
"""Whether `ROW` is the number of the row in the original file."""

_CONTENT: Final = "@content"
_KEY: Final = "@key"
_NUMBER: Final = "@number"
_NAMELESS: Final = "@nameless"
_HELD: Final = "@held"
_EXISTS: Final = "Stripe holds its identifier: it was billed before. Bill it otherwise only if it is other usage."
_CONTRADICTED: Final = (
    "The failed-records file tells this row of the original twice, and differently: see there which is right."
)


class StoredRows:
    """Frames put down in a local folder: all can be read before any is taken in, and iterating reads one at a time.

    `records` counts what they hold.
    """

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


@dataclass(frozen=True)
class ToldRecords:
    """The records of a failed-records file; iterating yields them in their order, each once.

    `source` stands for the file in the identifiers of records that have none. Those that must not be sent have a
    `REASON` and a `SUGGESTION`.
    """

    rows: Iterable[pl.DataFrame]
    source: str
    _keys: pl.DataFrame
    _messages: pl.DataFrame
    _advice: str | None

    @property
    def records(self) -> int:
        return self._keys[_KEY].n_unique()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        first = 0
        is_first = self._keys[_KEY].is_first_distinct()
        twice = self._told_twice()
        for frame in self.rows:
            here = slice(first, first := first + frame.height)
            keyed = frame.with_columns(self._keys[_KEY][here])
            yield self._as_records(keyed.filter(is_first[here]), twice)

    def _told_twice(self) -> pl.Series:
        """Return the numbers of the original's rows that differ from themselves."""
        numbers = self._keys.drop_nulls(_NUMBER).group_by(_NUMBER).agg(pl.col(_KEY).n_unique())
        return numbers.filter(pl.col(_KEY) > 1)[_NUMBER]

    def _as_records(self, frame: pl.DataFrame, twice: pl.Series) -> pl.DataFrame:
        told = frame.join(self._messages, on=_KEY, how="left", suffix=" all", maintain_order="left")
        contradicted = pl.col(NUMBERED) & pl.col(ROW).is_in(twice.implode())
        held = (
            _hold(pl.col(CODE).eq_missing(ALREADY_EXISTS), ALREADY_EXISTS, _EXISTS),
            _hold(contradicted, ROW_CONTRADICTED, _CONTRADICTED),
            _hold(pl.lit(self._advice is not None), ROW_COUNT_DIFFERS, self._advice),
        )
        return (
            told.with_columns(
                pl.coalesce(f"{MESSAGE} all", MESSAGE).alias(MESSAGE),
                with_identifiers(self.source, _place(frame)).alias(IDENTIFIER),
                pl.coalesce(*held).alias(_HELD),
            )
            .unnest(_HELD)
            .drop(_KEY, NUMBERED, f"{MESSAGE} all")
        )


def told_records(rows: Iterable[pl.DataFrame], source: str, counted: int | None) -> ToldRecords:
    """Return the records that rows of a failed-records file tell; `counted` is how many Stripe says there are.

    The rows have `NUMBERED`, and are gone through several times.
    """
    keys = pl.concat([_keys(frame) for frame in rows] or [_keys(pl.DataFrame(schema=_EMPTY))])
    again = keys.filter(pl.col(_KEY).is_duplicated())
    told = [
        frame.select(_keys(frame)[_KEY], MESSAGE).filter(pl.col(_KEY).is_in(again[_KEY].implode()))
        for frame in rows
        if again.height
    ]
    messages = pl.concat([pl.DataFrame(schema={_KEY: pl.UInt64, MESSAGE: pl.String}), *told])
    joined = messages.drop_nulls().group_by(_KEY).agg(pl.col(MESSAGE).unique(maintain_order=True).str.join("; "))
    return ToldRecords(rows, source, keys, joined, _advice(keys, counted))


_EMPTY: Final = {ROW: pl.Int64, NUMBERED: pl.Boolean, MESSAGE: pl.String}


def _advice(keys: pl.DataFrame, counted: int | None) -> str | None:
    """Return what to do where the file tells more records than Stripe counts, or may; None where it does not."""
    records = keys[_KEY].n_unique()
    nameless = keys.filter(pl.col(_NUMBER).is_null() & pl.col(_NAMELESS))
    most = records + nameless.height - nameless[_KEY].n_unique()
    if (most == records and counted is None) or (counted is not None and most <= counted):
        return None
    stripes = "Stripe does not say how many it refused" if counted is None else f"Stripe counts {counted}"
    return f"The failed-records file has {most} rows, {stripes}: compare it with the original before any is sent."


def _keys(frame: pl.DataFrame) -> pl.DataFrame:
    """Return what tells each row's record from others: its number in the original, its identifier, its content."""
    frame = with_columns_of(frame, REQUIRED_COLUMNS)
    number = pl.when(pl.col(NUMBERED)).then(ROW)
    return frame.select(
        pl.struct(number.alias(_NUMBER), pl.col(IDENTIFIER), content(frame.columns).alias(_CONTENT))
        .hash()
        .alias(_KEY),
        number.alias(_NUMBER),
        is_nameless().alias(_NAMELESS),
    )


def _hold(concerned: pl.Expr, reason: str, advice: str | None) -> pl.Expr:
    held = pl.struct(pl.lit(reason).alias(REASON), pl.lit(advice, pl.String).alias(SUGGESTION))
    return pl.when(concerned).then(held)


def _place(frame: pl.DataFrame) -> pl.Expr:
    """Return what names a record in its file: its number in the original, else a digest of its content."""
    digest = content(frame.columns).map_elements(
        lambda text: sha256(text.encode()).hexdigest()[:16], return_dtype=pl.String
    )
    return pl.when(pl.col(NUMBERED)).then(pl.col(ROW).cast(pl.String)).otherwise(digest)
