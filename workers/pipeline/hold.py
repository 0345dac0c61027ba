"""Putting records before a person: those that a guard stops, and those that came with a reason to wait.

What stops records returns them as a frame of `STOPPED_SCHEMA`.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, RecordSetRef
from workers.pipeline.context import Context
from workers.pipeline.record_sets import COUNTED_AS, RECORD, keep, movement, reasons_of, scan
from workers.records.schema import FAULT, OUTCOME, PLAN_COLUMNS, QUANTITY, REASON, SUGGESTION

STOPPED_SCHEMA: Final = {RECORD: pl.Int64, REASON: pl.String, SUGGESTION: pl.String}
"""The number of a record that a guard stops, and what a person is told of it."""


def held_moves(context: Context, case_id: str, found: RecordSetRef | None) -> Iterator[Movement]:
    """Yield the entry that quarantines those of the found records that came with a `REASON`, if any did."""
    if found is None:
        return
    records = scan(context, found)
    held = records.filter(pl.col(REASON).is_not_null()).select(RECORD, REASON, SUGGESTION).collect()
    if held.is_empty():
        return
    ref = keep(context, case_id, "held", quarantined(records, held))
    route = (Bucket.PENDING, Bucket.QUARANTINED)
    yield movement(context, EntryKind.QUARANTINED, route, ref, detail={"reasons": reasons_of(held)})


def stop(records: pl.DataFrame, reason: str, advice: str | pl.Expr) -> pl.DataFrame:
    """Stop all of these records."""
    words = pl.lit(advice) if isinstance(advice, str) else advice
    return records.select(RECORD, pl.lit(str(reason)).alias(REASON), words.alias(SUGGESTION))


def first_stopped(*stopped: pl.DataFrame) -> pl.DataFrame:
    """Return what any guard stops, with the word of the first that does."""
    return pl.concat([pl.DataFrame(schema=STOPPED_SCHEMA), *stopped]).unique(
        RECORD, keep="first", maintain_order=True
    )


def quarantined(records: pl.LazyFrame, stopped: pl.DataFrame) -> pl.LazyFrame:
    """Return those of the records that are stopped, as quarantined."""
    stale = [name for name in PLAN_COLUMNS if name != QUANTITY]
    chosen = records.drop(stale, strict=False).join(stopped.lazy(), on=RECORD, how="inner", maintain_order="left")
    return chosen.with_columns(pl.lit(Outcome.QUARANTINED.value).alias(OUTCOME), pl.col(COUNTED_AS).alias(FAULT))
