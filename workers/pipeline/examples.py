"""Picking the few records of an entry that its case is shown by: as Stripe refused them, or as repaired."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD
from workers.kernel.ledger.examples import MOST, SAMPLES, Change, Examples, Sample
from workers.kernel.ledger.journal import EntryKind, Movement
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

_CELLS: Final = (TIMESTAMP, EVENT_NAME, CUSTOMER, VALUE)
"""What a person sees of a refused record."""
_LATER: Final = "@later"


def with_examples(stores: Stores, move: Movement) -> Movement:
    """Return an entry that finds or plans records with a few of them, read from its record set."""
    if move.record_set is None:
        return move
    columns = (RECORD, COUNTED_AS, ORIGIN, SOURCE, ROW, MESSAGE, CHANGES, *_CELLS)
    there = with_columns_of(scan(stores, move.record_set), columns).select(columns)
    records = there.with_columns(pl.col(COUNTED_AS).fill_null(MALFORMED_RECORD))
    if move.kind in FINDING:
        unnamed = pl.col(MESSAGE).is_null()
        samples = [_sample(row) for row in _few(records, unnamed, SAMPLES)]
        return replace(move, examples=Examples(samples))
    if move.kind is EntryKind.PLANNED:
        repaired = records.filter(pl.col(CHANGES).is_not_null())
        changes = [change for row in _few(repaired, pl.lit(value=False), MOST) for change in _changes(row)]
        return replace(move, examples=Examples(changes=changes))
    return move


def _few(records: pl.LazyFrame, later: pl.Expr, of_each: int) -> Iterator[Mapping[str, Any]]:
    """Yield so many records of each code, those first that are not for `later`; no others are read in full."""
    keys = records.select(RECORD, COUNTED_AS, later.alias(_LATER)).collect().sort(_LATER, RECORD)
    chosen = keys.group_by(COUNTED_AS, maintain_order=True).head(of_each)
    few = records.filter(pl.col(RECORD).is_in(chosen[RECORD].implode())).collect()
    yield from chosen.select(RECORD).join(few, on=RECORD, maintain_order="left").iter_rows(named=True)


def _sample(row: Mapping[str, Any]) -> Sample:
    cells = {name: row[name] for name in _CELLS}
    return Sample(row[COUNTED_AS], row[RECORD], row[ORIGIN], row[SOURCE], row[ROW], row[MESSAGE], cells)


def _changes(row: Mapping[str, Any]) -> Iterator[Change]:
    for one in json.loads(row[CHANGES]):
        yield Change(
            row[COUNTED_AS], row[RECORD], row[ORIGIN], one["column"], one["before"], one["after"], one["remedy"]
        )
