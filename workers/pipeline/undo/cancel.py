"""Taking usage back that a submission has billed, on an operator's word.

1. What stands as submitted or confirmed is written down as about to be taken back, with who said so.
2. Stripe is asked to cancel each record by its identifier, in chunks that are intended before and finished after.
   Stripe cancels what it received within 24 hours (stripe-python, `billing.MeterEventAdjustment`); its answer to
   each record is kept.
3. What was cancelled goes before a person, with the record set of all answers. What Stripe did not cancel stays.

What a crash leaves open, the case's next turn goes on with, as a second call of `undo` does. Cancelling twice has
no second effect while Stripe remembers the call; a chunk that went unanswered for longer is not repeated, and its
records go before a person.
`workers.pipeline.undo.reverse` is the way for older usage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import polars as pl

from workers.kernel.clock import is_within
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import RecordSetRef, Tally
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.kernel.reasons import PERHAPS_UNDONE, UNDONE
from workers.pipeline.context import Context
from workers.pipeline.livemode import require_own_mode
from workers.pipeline.record_sets import RECORD, keep, scan
from workers.pipeline.submit.outcomes import billed_records
from workers.pipeline.undo.approvals import UNDO, approve, open_approval, taken_back
from workers.records import quantities
from workers.records.schema import EVENT_NAME, IDENTIFIER, QUANTITY, REASON, SUGGESTION
from workers.stripe_api.errors import BadRequest

CANCELLABLE_FOR: Final = timedelta(hours=24)
CHUNK: Final = 50
"""Records that are taken back between two commits."""

CANCELLED: Final = "cancelled"
NOT_CANCELLED: Final = "not_cancelled"
UNANSWERED: Final = "unanswered"

ANSWER_SCHEMA: Final = {RECORD: pl.Int64, IDENTIFIER: pl.String, "answer": pl.String, "message": pl.String}
"""The record set of Stripe's answers to one undo."""


_WORDS: Final = pl.LazyFrame(
    [
        (CANCELLED, UNDONE, "Stripe has taken it back: bill it otherwise, or write it off."),
        (UNANSWERED, PERHAPS_UNDONE, "Look in the meter's summaries whether Stripe has taken it back."),
    ],
    schema=["answer", REASON, SUGGESTION],
    orient="row",
)
"""What a person is told of records that Stripe has taken back, or perhaps."""


@dataclass(frozen=True)
class Undoable:
    """What of one submission can be undone: `fresh` by cancelling, else by a counter-entry alone."""

    submission: Submission
    billed: Tally
    fresh: bool


@dataclass(frozen=True)
class Undone:
    """What came of undoing one submission. `kept` has Stripe's words on what it did not cancel, a few of them."""

    submission_id: str
    cancelled: int
    not_cancelled: int
    unanswered: int
    answers: RecordSetRef
    kept: Sequence[tuple[str, str]]


def undoable(context: Context, subject: str) -> list[Undoable]:
    """Return what can be undone of a case or a submission. Raises InputUnusable as `submissions_of` does."""
    return [
        Undoable(submission, billed, _is_fresh(context, submission))
        for submission in submissions_of(context, subject)
        if (billed := _tally(billed_records(context, submission))).records
    ]


def submissions_of(context: Context, subject: str) -> Sequence[Submission]:
    """Return a case's submissions, or the one named. Raises InputUnusable: none such, or one still on its way."""
    one = context.ledger.submissions.get(subject)
    found = [one] if one else context.ledger.submissions.of_case(subject)
    if one is None and context.ledger.cases.get(subject) is None:
        raise InputUnusable(
            "there is no such case or submission", where=subject, mend="`metermend cases` lists the cases"
        )
    on_their_way = [submission.id for submission in found if submission.state is SubmissionState.INTENDED]
    if on_their_way:
        raise InputUnusable("it is still being sent", where=on_their_way[0], mend="undo it when it has been sent")
    return found


def undo(context: Context, submission: Submission, *, approved_by: str) -> Undone:
    """Cancel what Stripe received of a submission within 24 hours.

    Raises Conflict while a worker holds the case, Transient when Stripe does not answer (the undo stays open, and
    the case's next turn goes on with it), Permanent when the key may not cancel.
    """
    with context.ledger.cases.hold(submission.case_id, context.owner, context.lease) as held:
        require_own_mode(context, submission.case_id, livemode=held.case.failure.livemode)
        if open_approval(held, UNDO, submission) is None:
            chosen = billed_records(context, submission)
            if chosen is None:
                raise InputUnusable("nothing of it is billed", where=submission.id, mend="there is nothing to undo")
            approve(context, held, chosen, {UNDO: submission.id}, approved_by)
        undone = finish_undo(context, held, submission)
    assert undone is not None
    return undone


def finish_undo(context: Context, held: HeldCase, submission: Submission) -> Undone | None:
    """Cancel what is approved and not answered yet; return None when no undo of the submission is open."""
    found = open_approval(held, UNDO, submission)
    if found is None:
        return None
    undo_id, chosen = found
    answers = _cancel(context, held, submission, undo_id, chosen)
    kept = keep(context, submission.case_id, "undo-answers", answers)
    counts = dict(answers["answer"].value_counts(sort=True).iter_rows())
    detail = {"undo_id": undo_id, "answers": kept.name, "answers_sha256": kept.sha256, "answered": counts}
    reasons = answers.lazy().join(_WORDS, on="answer").select(RECORD, REASON, SUGGESTION)
    moves = taken_back(context, submission, reasons, detail)
    with held.transaction() as transaction:
        transaction.move(*moves)
        transaction.reschedule(context.clock())
    left = answers.filter(pl.col("answer") == NOT_CANCELLED).head(20)
    told = tuple(left.select(IDENTIFIER, "message").iter_rows())
    cancelled, unanswered = counts.get(CANCELLED, 0), counts.get(UNANSWERED, 0)
    return Undone(submission.id, cancelled, counts.get(NOT_CANCELLED, 0), unanswered, kept, told)


def _is_fresh(context: Context, submission: Submission) -> bool:
    """Tell whether Stripe can have what it would cancel, and cancels it still."""
    return (
        submission.is_at_stripe
        and submission.sent_at is not None
        and context.clock() < submission.sent_at + CANCELLABLE_FOR
    )


def _tally(records: pl.LazyFrame | None) -> Tally:
    if records is None:
        return Tally()
    column = records.select(QUANTITY).collect()[QUANTITY]
    return Tally(len(column), quantities.total(column))


def _cancel(
    context: Context, held: HeldCase, submission: Submission, undo_id: str, chosen: RecordSetRef
) -> pl.DataFrame:
    """Ask Stripe to cancel every chosen record, going on where an earlier try stopped; return its answers."""
    known = context.ledger.chunks.of(submission.id, undo_id)
    still = billed_records(context, submission)
    there = set() if still is None else set(still.select(RECORD).collect()[RECORD])
    rows = scan(context, chosen).select(RECORD, IDENTIFIER, EVENT_NAME).collect()
    answers: list[list[Any]] = []
    for number, chunk in enumerate(rows.iter_slices(CHUNK)):
        before = known.get(number)
        if before is not None and before.result is not None:
            answers += before.result
            continue
        if before is None:
            first, records = number * CHUNK, chunk.height
            context.ledger.chunks.intend(held.renewed, submission.id, number, first, records, {}, undo_id=undo_id)
        else:
            held.renew()
        too_late = before is not None and not is_within(before.intended_at, CANCELLABLE_FOR, context.clock())
        result = [_answer(context, held, row, there, too_late=too_late) for row in chunk.iter_rows()]
        context.ledger.chunks.finish(submission.id, number, result, undo_id=undo_id)
        answers += result
    return pl.DataFrame(answers, schema=ANSWER_SCHEMA, orient="row")


def _answer(
    context: Context, held: HeldCase, row: tuple[int, str, str], there: set[int], *, too_late: bool
) -> list[Any]:
    record, identifier, event_name = row
    if record not in there:
        return [record, identifier, NOT_CANCELLED, "Stripe has refused it since"]
    if too_late:
        return [record, identifier, UNANSWERED, "the call went unanswered over a day ago"]
    try:
        done = context.stripe.cancel_meter_event(event_name, identifier, held.case.failure.account)
    except BadRequest as refusal:
        return [record, identifier, NOT_CANCELLED, str(refusal)]
    return [record, identifier, CANCELLED, str(done.get("status", ""))]
