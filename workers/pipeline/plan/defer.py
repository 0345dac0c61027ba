"""Deferred records: waiting for their time, or for what they wait for to change."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from workers.kernel.clock import from_text
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.context import Context
from workers.pipeline.record_sets import as_before_plan, keep, movement, records_in
from workers.records.schema import VALID_FROM

RECHECK: Final = timedelta(hours=1)
"""How often records without a known time are looked at again, such as those that wait for their meter."""


def some_deferred_is_due(context: Context, held: HeldCase) -> bool:
    """Whether a deferred record of the case can be planned again."""
    due_at = next_deferred(context, held)
    return due_at is not None and due_at <= context.clock()


def next_deferred(context: Context, held: HeldCase) -> datetime | None:
    """Return when the first deferred record of the case is due; None when none is deferred."""
    deferred = records_in(context, held.journal, Bucket.DEFERRED)
    if deferred is None:
        return None
    found = deferred.select(pl.col(VALID_FROM).min(), pl.col(VALID_FROM).null_count().alias("waiting")).collect()
    earliest, waiting = found.row(0)
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
    is_due = pl.col(VALID_FROM).is_null() | (begins <= context.clock())
    due = as_before_plan(context, held.journal, deferred.filter(is_due))
    ref = keep(context, held.case.id, "reopened", due)
    with held.transaction() as transaction:
        transaction.move(movement(context, EntryKind.REOPENED, (Bucket.DEFERRED, Bucket.PENDING), ref))
