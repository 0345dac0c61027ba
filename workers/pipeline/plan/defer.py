"""Deferred records: waiting for their time, or for what they wait for to change."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from workers.kernel.clock import from_text
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.context import Context
from workers.pipeline.record_sets import as_before_plan, keep, movement, records_in
from workers.records.schema import AWAITS, VALID_FROM, with_columns_of

RECHECK: Final = timedelta(hours=1)
"""How often records are looked at again that wait neither for a known time nor for what `upkeep.wake` looks for."""


def some_deferred_is_due(context: Context, held: HeldCase) -> bool:
    """Whether a deferred record of the case can be planned again."""
    due_at = next_deferred(context, held)
    return due_at is not None and due_at <= context.clock()


def next_deferred(context: Context, held: HeldCase) -> datetime | None:
    """Return when the first deferred record of the case is due; None when none is deferred."""
    deferred = records_in(context, held.journal, Bucket.DEFERRED)
    if deferred is None:
        return None
    rechecked = with_columns_of(deferred, [AWAITS]).select(
        pl.col(VALID_FROM).min(), _has_no_time().any().alias("any")
    )
    earliest, waiting = rechecked.collect().row(0)
    times = [from_text(earliest)] if earliest else []
    since = min(held.case.changed_at, context.clock())  # a clock that was ahead may have written it
    return min([*times, *([since + RECHECK] if waiting else [])], default=None)


def reopen_due(context: Context, held: HeldCase) -> None:
    """Take the deferred records that are due back to pending, those that wait for a change along with them.

    They come back as they were before they were deferred: one that was mended too would look sound, as if there had
    been nothing to refuse.
    """
    deferred = records_in(context, held.journal, Bucket.DEFERRED)
    assert deferred is not None
    begins = pl.col(VALID_FROM).str.to_datetime(time_zone="UTC", strict=False)
    is_due = _has_no_time() | (begins <= context.clock()).fill_null(value=False)
    due = as_before_plan(context, held.journal, with_columns_of(deferred, [AWAITS]).filter(is_due))
    ref = keep(context, held.case.id, "reopened", due)
    with held.transaction() as transaction:
        transaction.move(movement(context, EntryKind.REOPENED, (Bucket.DEFERRED, Bucket.PENDING), ref))


def _has_no_time() -> pl.Expr:
    return pl.all_horizontal(pl.col(VALID_FROM, AWAITS).is_null())
