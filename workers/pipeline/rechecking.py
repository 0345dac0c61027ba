"""Asking the guards once more, just before planned records are sent.

A plan may be old: no target was set, or it was away. Meanwhile another case may have sent the same usage or filled
the same window of a pre-aggregated meter, and a record may have become too old.
"""

import polars as pl

from workers.kernel.ledger.cases import Case, HeldCase
from workers.kernel.ledger.movements import Bucket, EntryKind
from workers.pipeline.book import ORIGIN, RECORD, as_before_plan, keep, keep_records_in, movement, scan
from workers.pipeline.context import Context
from workers.pipeline.guards import (
    first_stopped,
    quarantined,
    resubmitted,
    too_old,
)
from workers.pipeline.overwriting import would_overwrite
from workers.pipeline.parts import PART_RECORDS
from workers.pipeline.reopening import SENT_BEFORE
from workers.records.schema import REASON, TIMESTAMP


def recheck(context: Context, held: HeldCase) -> None:
    """Put planned records before a person that must not be sent any more, as they were before the plan.

    What somebody has approved by name, knowing that it may be billed already, is left as it is.
    """
    case = held.case
    ref = keep_records_in(context, case.id, Bucket.PLANNED, "planned")
    assert ref is not None, "the book holds planned records without a record set"
    planned = scan(context, ref).filter(~pl.col(REASON).fill_null("").is_in(SENT_BEFORE))
    stopped = _stopped(context, case, planned)
    if stopped.is_empty():
        return
    before = as_before_plan(context, case.id, planned.join(stopped.lazy(), on=RECORD, how="semi"))
    aside = keep(context, case.id, "stopped", quarantined(before, stopped))
    reasons = dict(stopped[REASON].value_counts(sort=True).iter_rows())
    route = (Bucket.PLANNED, Bucket.QUARANTINED)
    with held.transaction() as transaction:
        transaction.move(movement(context, EntryKind.QUARANTINED, route, aside, detail={"reasons": reasons}))


def _stopped(context: Context, case: Case, planned: pl.LazyFrame) -> pl.DataFrame:
    needed = planned.select(RECORD, ORIGIN, TIMESTAMP)
    parts = [
        first_stopped(resubmitted(context, case, part), too_old(part, context.clock()))
        for part in needed.collect_batches(chunk_size=PART_RECORDS)
    ]
    return first_stopped(*parts, would_overwrite(context, case, planned))
