"""Deciding that a submission counted: Stripe's verdict on our own file, and no refusal within the window.

A verdict alone says only that the rows were well-formed; refusals for their data follow later, so the window is
waited out in every case. Where no verdict came, the absence of a refusal is the proof, and the entry says so.
"""

from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.leases import LONGEST_WAIT
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.pipeline.book import keep_records_in, movement
from workers.pipeline.context import Context


def confirm(context: Context, held: HeldCase) -> None:
    """Confirm what still stands as submitted in every submission whose window has passed."""
    for submission in due_for_confirmation(context, held):
        movement = _confirmed(context, held, submission)
        with held.transaction() as transaction:
            if movement:
                transaction.move(movement)
            transaction.submissions.settled(submission.id)


def due_for_confirmation(context: Context, held: HeldCase) -> list[Submission]:
    """Return the case's sent submissions whose window has passed."""
    now = context.clock()
    return [s for s in _sent(context, held) if s.confirm_at is not None and s.confirm_at <= now]


def begin_window_anew(context: Context, held: HeldCase) -> None:
    """Let windows begin now that end later than any can: a clock that was ahead has set them."""
    latest = context.clock() + context.confirmation_window
    late = [s for s in _sent(context, held) if s.confirm_at is not None and s.confirm_at > latest + LONGEST_WAIT]
    if late:
        with held.transaction() as transaction:
            for submission in late:
                transaction.submissions.wait_until(submission.id, latest)


def _sent(context: Context, held: HeldCase) -> list[Submission]:
    return [s for s in context.ledger.submissions.of_case(held.case.id) if s.state is SubmissionState.SENT]


def _confirmed(context: Context, held: HeldCase, submission: Submission) -> Movement | None:
    record_set = keep_records_in(context, held.case.id, Bucket.SUBMITTED, "confirmed", submission_id=submission.id)
    if record_set is None:
        return None
    confirmed = movement(
        context,
        EntryKind.CONFIRMED,
        (Bucket.SUBMITTED, Bucket.CONFIRMED),
        record_set,
        revision=submission.revision,
        submission_id=submission.id,
        detail={"proof": submission.verdict or "no_refusal_within_window"},
    )
    return confirmed if confirmed.records else None
