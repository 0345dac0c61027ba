"""What an undo and a counter-entry share: what counts at Stripe, who approved, and how it comes before a person."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.book import DATA, RECORD, REFUSED_AS, keep, movement, records_in
from workers.pipeline.context import Context
from workers.records.schema import OUTCOME, REASON, SUGGESTION

TAKEN_BACK: Final = (Bucket.SUBMITTED, Bucket.CONFIRMED)
"""Where a record stands that counts at Stripe, or may."""


def billed_records(context: Context, submission: Submission) -> pl.LazyFrame | None:
    """Return the records of a submission that count at Stripe or may; None when there are none."""
    frames = [
        records
        for bucket in TAKEN_BACK
        if (records := records_in(context, submission.case_id, bucket, submission_id=submission.id)) is not None
    ]
    return pl.concat(frames, how="diagonal") if frames else None


def open_approval(entries: Sequence[EntryRow], detail_key: str, subject: str) -> EntryRow | None:
    """Return the approval whose work was begun and not finished: no entry after it names it as done."""
    approvals = [e for e in entries if e.kind == EntryKind.APPROVED and e.detail.get(detail_key) == subject]
    if not approvals:
        return None
    undo_id = undo_id_of(subject, approvals[-1].number)
    return None if any(e.detail.get("undo_id") == undo_id for e in entries) else approvals[-1]


def undo_id_of(submission_id: str, number: int) -> str:
    """Return the name of the undo that the entry of this number approved."""
    return f"{submission_id}-undo-{number}"


def approve(
    context: Context, held: HeldCase, chosen: pl.LazyFrame, detail: dict[str, Any], approved_by: str
) -> RecordSetRef:
    """Write down, before anything is done, which records are about to be taken back and on whose word."""
    ref = keep(context, held.case.id, "approved", chosen.sort(RECORD))
    word = movement(context, EntryKind.APPROVED, (None, None), ref, detail=detail)
    with held.transaction() as transaction:
        transaction.move(replace(word, actor=approved_by))
    return ref


def taken_back(
    context: Context, submission: Submission, reasons: pl.LazyFrame, detail: dict[str, Any]
) -> Iterator[Movement]:
    """Yield the entries that put records before a person; `reasons` has RECORD, REASON and SUGGESTION of each."""
    for bucket in TAKEN_BACK:
        records = records_in(context, submission.case_id, bucket, submission_id=submission.id)
        if records is None:
            continue
        marked = records.drop(REASON, SUGGESTION, strict=False).join(reasons, on=RECORD, maintain_order="left")
        gone = marked.with_columns(pl.lit(Outcome.QUARANTINED.value).alias(OUTCOME), pl.lit(DATA).alias(REFUSED_AS))
        ref = keep(context, submission.case_id, "undone", gone)
        yield movement(
            context,
            EntryKind.UNDONE,
            (bucket, Bucket.QUARANTINED),
            ref,
            revision=submission.revision,
            submission_id=submission.id,
            detail=detail,
        )
