"""What a target says itself of what was sent to it: asked where Stripe does not know of the usage."""

from collections.abc import Sequence

import polars as pl

from workers.kernel.errors import Permanent
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import records_in
from workers.targets import Arrived, Proving


def told_by_target(
    context: Context, account: str | None, journal: Sequence[EntryRow], submission: Submission
) -> tuple[pl.DataFrame, Arrived]:
    """Return what stands as submitted, and what the target says of it.

    Raises Transient or Permanent where it does not tell, and Permanent where SUBMIT_TO leads elsewhere by now.
    """
    there = records_in(context, journal, Bucket.SUBMITTED, submission_id=submission.id)
    target: object = context.target_named(submission.target, account)
    if not isinstance(target, Proving):
        raise Permanent(
            f"only {submission.target} can tell, and SUBMIT_TO does not lead there any more: set it back"
        )
    records = there.collect() if there is not None else pl.DataFrame()
    return records, target.arrived(records) if records.height else Arrived((), (), {})
