"""What of a submission counts at Stripe, or may: what was sent and neither refused nor taken back since."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import records_in

BILLED: Final = (Bucket.SUBMITTED, Bucket.CONFIRMED)
"""Where a record stands that counts at Stripe, or may."""


def billed_by_bucket(context: Context, submission: Submission) -> Iterator[tuple[Bucket, pl.LazyFrame]]:
    """Yield the records of a submission that count at Stripe or may, by the bucket that they stand in."""
    journal = context.ledger.queries.entries(submission.case_id)
    for bucket in BILLED:
        records = records_in(context, journal, bucket, submission_id=submission.id)
        if records is not None:
            yield bucket, records


def billed_records(context: Context, submission: Submission) -> pl.LazyFrame | None:
    """Return the records of a submission that count at Stripe or may; None when there are none."""
    frames = [records for _, records in billed_by_bucket(context, submission)]
    return pl.concat(frames, how="diagonal") if frames else None
