"""What an undo and a counter-entry share: what counts at Stripe, who approved, and how it comes before a person."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import DATA, RECORD, REFUSED_AS, keep, movement
from workers.pipeline.submit.outcomes import billed_by_bucket
from workers.records.schema import OUTCOME, REASON, SUGGESTION

UNDO: Final = "undo"
"""Names, in the detail of an approval, the submission that is to be cancelled."""
COUNTER: Final = "counter_entry"
"""Names, in the detail of an approval, the submission that is to be countered."""


def left_open(entries: Sequence[EntryRow]) -> Sequence[EntryRow]:
    """Return the approvals whose work was begun and not finished: no later entry names it as done."""
    done = {entry.detail.get("undo_id") for entry in entries}
    return [entry for entry in entries if (undo_id := _undo_id_of(entry)) and undo_id not in done]


def open_approval(held: HeldCase, detail_key: str, submission: Submission) -> tuple[str, RecordSetRef] | None:
    """Return the undo of one sort of a submission that was approved and is not finished: its id and its records."""
    for entry in left_open(held.journal):
        undo_id = _undo_id_of(entry)
        if undo_id and entry.ref and entry.detail.get(detail_key) == submission.id:
            return undo_id, entry.ref
    return None


def _undo_id_of(entry: EntryRow) -> str | None:
    """Return the name of the undo that an entry approves; None for any other entry."""
    subject = entry.detail.get(UNDO) or entry.detail.get(COUNTER)
    return f"{subject}-undo-{entry.number}" if entry.kind == EntryKind.APPROVED and subject else None


def approve(
    context: Context, held: HeldCase, chosen: pl.LazyFrame, detail: dict[str, Any], approved_by: str
) -> None:
    """Write down, before anything is done, which records are about to be taken back and on whose word.

    From then on the case is due, so that the sweeper takes up what a crash leaves open.
    """
    ref = keep(context, held.case.id, "approved", chosen.sort(RECORD))
    word = movement(context, EntryKind.APPROVED, (None, None), ref, detail=detail)
    with held.transaction() as transaction:
        transaction.move(replace(word, actor=approved_by))
        transaction.reschedule(context.clock())


def taken_back(
    context: Context, submission: Submission, reasons: pl.LazyFrame, detail: dict[str, Any]
) -> list[Movement]:
    """Return the entries that put records before a person; `reasons` has RECORD, REASON and SUGGESTION of each.

    What took nothing back has its line in the journal too: without it, it would stay open.
    """
    moves = []
    for bucket, records in billed_by_bucket(context, submission):
        marked = records.drop(REASON, SUGGESTION, strict=False).join(reasons, on=RECORD, maintain_order="left")
        gone = marked.with_columns(pl.lit(Outcome.QUARANTINED.value).alias(OUTCOME), pl.lit(DATA).alias(REFUSED_AS))
        ref = keep(context, submission.case_id, "undone", gone)
        route = (bucket, Bucket.QUARANTINED)
        moves.append(movement(context, EntryKind.UNDONE, route, ref, submission=submission, detail=detail))
    route = (Bucket.CONFIRMED, Bucket.QUARANTINED)
    nothing = Movement(EntryKind.UNDONE, *route, 0, Decimal(0), submission_id=submission.id, detail=detail)
    return moves or [nothing]
