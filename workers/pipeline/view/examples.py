"""Records that show what a code is about: as Stripe refused them, and before and after a repair."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.context import Stores
from workers.pipeline.record_sets import COUNTED_AS, FINDING, ORIGIN, RECORD, scan
from workers.records.schema import (
    CHANGES,
    CUSTOMER,
    EVENT_NAME,
    MESSAGE,
    ROW,
    SOURCE,
    TIMESTAMP,
    VALUE,
    with_columns_of,
)

SAMPLES: Final = 2
"""Records that are shown of each code."""
SHOWN: Final = (TIMESTAMP, EVENT_NAME, CUSTOMER, VALUE)


@dataclass(frozen=True)
class Sample:
    """One record as it was refused. `message` is Stripe's own, None where it only counted it."""

    code: str
    record: int
    identifier: str | None
    file: str | None
    row: int | None
    message: str | None
    columns: Mapping[str, str | None]


@dataclass(frozen=True)
class Change:
    """One repaired record: what stood in a column before, and what was put in its place."""

    code: str
    identifier: str | None
    column: str
    before: str | None
    after: str | None
    remedy: str


def samples(stores: Stores, journal: Sequence[EntryRow]) -> list[Sample]:
    """Return the first records of each code, those that Stripe has named before others."""
    found = [_of_set(stores, entry) for entry in journal if entry.kind in FINDING and entry.ref is not None]
    if not found:
        return []
    named_first = pl.concat(found, how="vertical_relaxed").sort(pl.col(MESSAGE).is_null(), RECORD)
    first = (
        named_first.group_by(COUNTED_AS, maintain_order=True).head(SAMPLES).sort(COUNTED_AS, maintain_order=True)
    )
    return [_sample(row) for row in first.iter_rows(named=True)]


def changes(stores: Stores, journal: Sequence[EntryRow]) -> list[Change]:
    """Return one repair of each code, the first one that was planned."""
    found: dict[str, Change] = {}
    for entry in journal:
        if entry.kind != EntryKind.PLANNED or entry.ref is None:
            continue
        mended = _opened(stores, entry, (CHANGES, ORIGIN)).filter(pl.col(CHANGES).is_not_null())
        first = mended.group_by(COUNTED_AS, maintain_order=True).first().collect()
        for row in first.sort(COUNTED_AS).iter_rows(named=True):
            found.setdefault(row[COUNTED_AS], next(_changes(row)))
    return list(found.values())


def _of_set(stores: Stores, entry: EntryRow) -> pl.DataFrame:
    """Return the first records of each code in one record set."""
    records = _opened(stores, entry, (RECORD, ORIGIN, SOURCE, ROW, MESSAGE, *SHOWN))
    ordered = records.sort(pl.col(MESSAGE).is_null(), maintain_order=True)
    return ordered.group_by(COUNTED_AS, maintain_order=True).head(SAMPLES).collect()


def _opened(stores: Stores, entry: EntryRow, columns: Sequence[str]) -> pl.LazyFrame:
    assert entry.ref is not None
    there = with_columns_of(scan(stores, entry.ref), (*columns, COUNTED_AS))
    return there.select(*columns, pl.col(COUNTED_AS).fill_null(MALFORMED_RECORD))


def _sample(row: Mapping[str, Any]) -> Sample:
    columns = {name: row[name] for name in SHOWN}
    return Sample(row[COUNTED_AS], row[RECORD], row[ORIGIN], row[SOURCE], row[ROW], row[MESSAGE], columns)


def _changes(row: Mapping[str, Any]) -> Iterator[Change]:
    for one in json.loads(row[CHANGES]):
        yield Change(row[COUNTED_AS], row[ORIGIN], one["column"], one["before"], one["after"], one["remedy"])
