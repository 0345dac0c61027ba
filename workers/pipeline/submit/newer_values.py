"""Records of pre-aggregated meters for whose window the sender has a newer value himself.

Looked for in the usage files that the sender keeps (`workers.sources`) and among the records of the same case that
are not to be sent: a newer value may have been refused as well. Of two values the one with the later timestamp is
newer. Of the same second nobody can tell, so that any other value there counts as newer too. Rows with the same
value do not count: nothing changes whichever is kept.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.ledger.cases import CaseReading
from workers.kernel.ledger.journal import Bucket
from workers.kernel.reasons import WOULD_OVERWRITE
from workers.pipeline.context import Context
from workers.pipeline.hold import STOPPED_SCHEMA, stop
from workers.pipeline.record_sets import FINDING, PART_RECORDS, RECORD, records_in, scan
from workers.pipeline.submit.meter_windows import KEYS, SECONDS, Windows
from workers.records import timestamps
from workers.records.catalog import VALUE_TEXT
from workers.records.quantities import read_distinct, strip_idle_zeros
from workers.records.schema import (
    EVENT_NAME,
    QUANTITY,
    ROW,
    SOURCE,
    TIMESTAMP,
)

_WRITTEN: Final = "@written"
_READING: Final = "@reading"
_THERE: Final = "_there"
_NOT_TO_BE_SENT: Final = (Bucket.QUARANTINED, Bucket.DEFERRED)
_ADVICE: Final = (
    "The meter keeps one value per window, and row {} of {} has one as new or newer: decide which is right."
)


def superseded(context: Context, held: CaseReading, windows: Windows, planned: pl.LazyFrame) -> pl.DataFrame:
    """Stop those of the planned records, one a window, for which there is a newer value, as `guards` does."""
    chosen = planned.collect()
    if chosen.is_empty():
        return pl.DataFrame(schema=STOPPED_SCHEMA)
    left = _sought(context, held, windows, chosen)
    read = timestamps.read(pl.col(TIMESTAMP), timestamps.Window(context.clock()))
    advice = pl.format(_ADVICE, ROW, pl.col(SOURCE).fill_null("its file"))
    stopped = [pl.DataFrame(schema=STOPPED_SCHEMA)]
    for usage in _elsewhere(context, held, windows, left):
        stopped.append(stop(_newer(left, windows.keyed(usage, read)), WOULD_OVERWRITE, advice))
        left = left.join(stopped[-1], on=RECORD, how="anti", maintain_order="left")
        if left.is_empty():
            break
    return pl.concat(stopped)


def _sought(context: Context, held: CaseReading, windows: Windows, planned: pl.DataFrame) -> pl.DataFrame:
    """Return the planned records with their value as the sender wrote it, before any repair."""
    mine = windows.keyed(planned).select(RECORD, *KEYS, SECONDS, strip_idle_zeros(pl.col(QUANTITY)))
    found = [scan(context, entry.ref) for entry in held.journal if entry.kind in FINDING and entry.ref]
    names = mine.select(RECORD, EVENT_NAME).lazy()
    written = pl.concat(found, how="diagonal").drop(EVENT_NAME).join(names, on=RECORD).collect()
    values = windows.catalog.resolve(written).select(RECORD, pl.col(VALUE_TEXT).alias(_WRITTEN))
    return mine.join(values, on=RECORD, how="left", maintain_order="left")


def _elsewhere(
    context: Context, held: CaseReading, windows: Windows, sought: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Yield the usage among which a newer value may stand."""
    for bucket in _NOT_TO_BE_SENT:
        records = records_in(context, held.journal, bucket)
        if records is not None:
            yield from records.filter(windows.concern()).collect_batches(chunk_size=PART_RECORDS)
    starts, ends = zip(*map(windows.span, sought.iter_rows(named=True)), strict=True)
    yield from context.sources_of(held.case.failure.account).rows(set(sought[EVENT_NAME]), min(starts), max(ends))


def _newer(sought: pl.DataFrame, usage: pl.DataFrame) -> pl.DataFrame:
    """Return a row of the usage that has a newer value for each record where there is one.

    A text that reads as the record's quantity, or is what its sender wrote, is the same value.
    """
    there = usage.select(*KEYS, SECONDS, SOURCE, ROW, VALUE_TEXT)
    pairs = sought.join(there, on=KEYS, suffix=_THERE, maintain_order="left_right")
    readings = read_distinct(pairs[VALUE_TEXT]).select(
        pl.col("text").alias(VALUE_TEXT), strip_idle_zeros(pl.col("reading")).alias(_READING)
    )
    newer = pl.col(SECONDS + _THERE) >= pl.col(SECONDS)
    differs = pl.col(_READING).ne_missing(pl.col(QUANTITY)) & pl.col(VALUE_TEXT).ne_missing(pl.col(_WRITTEN))
    read = pairs.join(readings, on=VALUE_TEXT, how="left", maintain_order="left")
    return read.filter(newer & differs).unique(RECORD, keep="first", maintain_order=True)
