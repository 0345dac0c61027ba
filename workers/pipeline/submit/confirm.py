"""Deciding that a submission counted: Stripe's verdict on our own file, and no refusal within the window.

A verdict alone says only that the rows were well-formed; refusals for their data follow later, so the window is
waited out in every case. Where no verdict came, the absence of a refusal is the proof, and the entry says so; else
it says, file by file, what was compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from workers.kernel.files import file_name
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.chunks import StoredChunk
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement
from workers.kernel.ledger.leases import LONGEST_WAIT
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.kernel.reasons import ARRIVAL_UNKNOWN
from workers.pipeline.context import Context
from workers.pipeline.record_sets import keep_records_in, movement, scan
from workers.pipeline.submit.outcomes import set_aside
from workers.records.schema import IDENTIFIER, REASON, SUGGESTION

NO_REFUSAL: Final = "no_refusal_within_window"
"""The proof of a submission on none of whose files Stripe has told a verdict."""
BY_VERDICT: Final = "verdict"
BY_SILENCE: Final = "silence"
"""What a confirmation rests on (`by` in its entry): Stripe's word on our own file, or none against it."""
_UNJUDGED: Final = (
    "Stripe has told what it imported of other files of its submission and nothing of this one: see whether it "
    "lies in the folder still, and in Stripe's summaries whether it arrived."
)


def confirm(context: Context, held: HeldCase) -> None:
    """Confirm what still stands as submitted in every submission whose window has passed.

    Where Stripe has told a verdict on some files of a submission and none on others, the records of these are held.
    """
    for submission in due_for_confirmation(context, held):
        chunks = context.ledger.chunks.of(submission.id) if submission.verdict else {}
        files = {number: chunk for number, chunk in chunks.items() if chunk.records}
        judged = {number: chunk.verdict for number, chunk in files.items() if chunk.verdict is not None}
        if judged and len(judged) < len(files):
            _hold_unjudged(context, held, submission, [c for n, c in files.items() if n not in judged])
        proof = {file_name(submission.id, number): verdict for number, verdict in judged.items()}
        moves = list(_confirmed(context, held, submission, proof or NO_REFUSAL))
        with held.transaction() as transaction:
            transaction.move(*moves)
            transaction.submissions.settled(submission.id)


def _hold_unjudged(context: Context, held: HeldCase, submission: Submission, files: Sequence[StoredChunk]) -> None:
    """Hold the records of files of which Stripe has not said that it imported them, as it has of others."""
    sent = scan(context, submission.ref).select(IDENTIFIER)
    rows = pl.concat([sent.slice(chunk.first or 0, chunk.records) for chunk in files])
    reasons = rows.with_columns(
        pl.lit(ARRIVAL_UNKNOWN).alias(REASON), pl.lit(_UNJUDGED).alias(SUGGESTION)
    ).collect()
    moves = list(set_aside(context, submission, reasons, failure_key=f"unjudged:{submission.id}"))
    with held.transaction() as transaction:
        transaction.move(*moves)


def due_for_confirmation(context: Context, held: HeldCase) -> list[Submission]:
    """Return the case's sent submissions whose window has passed."""
    now = context.clock()
    return [s for s in _sent(held) if s.confirm_at is not None and s.confirm_at <= now]


def begin_window_anew(context: Context, held: HeldCase) -> None:
    """Let windows begin now that end later than any can: a clock that was ahead has set them."""
    latest = context.clock() + context.confirmation_window
    late = [s for s in _sent(held) if s.confirm_at is not None and s.confirm_at > latest + LONGEST_WAIT]
    if late:
        with held.transaction() as transaction:
            for submission in late:
                transaction.submissions.wait_until(submission.id, latest)


def _sent(held: HeldCase) -> list[Submission]:
    return [s for s in held.submissions if s.state is SubmissionState.SENT]


def _confirmed(
    context: Context, held: HeldCase, submission: Submission, proof: str | Mapping[str, Any]
) -> Iterator[Movement]:
    ref = keep_records_in(context, held, Bucket.SUBMITTED, "confirmed", submission_id=submission.id)
    if ref is not None:
        by = BY_SILENCE if proof == NO_REFUSAL else BY_VERDICT
        route, detail = (Bucket.SUBMITTED, Bucket.CONFIRMED), {"by": by, "proof": proof}
        confirmed = movement(context, EntryKind.CONFIRMED, route, ref, submission=submission, detail=detail)
        if confirmed.records:
            yield confirmed
