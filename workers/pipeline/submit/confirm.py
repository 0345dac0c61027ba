"""Deciding that a submission counted: no refusal within the window, and the strongest proof that there is.

A verdict alone says only that the rows were well-formed; refusals for their data follow later, so the window is
waited out in every case. Then Stripe's verdict on our own files is the proof, file by file. Without one, Stripe's
totals must have grown by what was sent; while they have not, it is looked again, ever more rarely, and from the
deadline on the submission is unconfirmed. Where totals were not to be had, the absence of a refusal is the proof.
A target that Stripe does not know of is asked itself, record by record, and its word is all the proof there is.
The entry says which.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Permanent, Transient
from workers.kernel.files import file_name
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.chunks import StoredChunk
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.leases import LONGEST_WAIT
from workers.kernel.ledger.submissions import Submission, SubmissionState
from workers.kernel.ledger.unconfirmed import UNCONFIRMED, is_noted
from workers.kernel.reasons import ARRIVAL_UNKNOWN
from workers.pipeline.context import Context
from workers.pipeline.record_sets import keep, keep_records_in, movement, records_in, scan
from workers.pipeline.submit.arrival import grown, shown_with
from workers.pipeline.submit.outcomes import REASON_SCHEMA, set_aside
from workers.pipeline.submit.own_word import told_by_target
from workers.records.schema import IDENTIFIER, MAX_AGE, REASON, SUGGESTION

NO_REFUSAL: Final = "no_refusal_within_window"
"""The proof of a submission on none of whose files Stripe has told a verdict."""
BY_VERDICT: Final = "verdict"
BY_SUMMARIES: Final = "summaries"
BY_SILENCE: Final = "silence"
BY_TARGET: Final = "target"
"""What a confirmation rests on (`by` in its entry): Stripe's word on our own file, its totals, that it has refused
nothing, or what the target itself counts."""
LONGEST_LOOK: Final = timedelta(days=1)
"""How long at most until a submission that has not shown is looked for again."""
_SHORTEST_LOOK: Final = timedelta(seconds=1)
_NOT_SHOWN: Final = "Stripe's totals do not show it after 35 days: compare with its summaries before sending it."
_NOT_THERE: Final = "Metronome has not shown it in 35 days: compare with its invoices before you bill it otherwise."
_UNJUDGED: Final = (
    "Stripe has told what it imported of other files of its submission and nothing of this one: see whether it "
    "lies in the folder still, and in Stripe's summaries whether it arrived."
)


def confirm(context: Context, held: HeldCase) -> None:
    """Confirm what still stands as submitted in every submission whose window has passed.

    Where Stripe has told a verdict on some files of a submission and none on others, the records of these are held.
    """
    for submission in due_for_confirmation(context, held):
        if not submission.is_at_stripe:
            _settle_by_target(context, held, submission)
            continue
        chunks = context.ledger.chunks.of(submission.id) if submission.verdict else {}
        files = {number: chunk for number, chunk in chunks.items() if chunk.records}
        judged = {number: chunk.verdict for number, chunk in files.items() if chunk.verdict is not None}
        if judged and len(judged) < len(files):
            _hold_unjudged(context, held, submission, [c for n, c in files.items() if n not in judged])
        proof = {files[number].file or file_name(submission.id, number): said for number, said in judged.items()}
        if proof:
            _settle(context, held, submission, {"by": BY_VERDICT, "proof": proof})
        elif (overlapping := shown_with(context, held, submission)) is not None:
            _settle_by_totals(context, held, submission, overlapping)
        else:
            _settle(context, held, submission, {"by": BY_SILENCE, "proof": NO_REFUSAL})


def _settle(context: Context, held: HeldCase, submission: Submission, detail: Mapping[str, Any]) -> None:
    moves = list(_confirmed(context, held, submission, detail))
    with held.transaction() as transaction:
        transaction.move(*moves)
        transaction.submissions.settled(submission.id)


def _settle_by_target(context: Context, held: HeldCase, submission: Submission) -> None:
    """Confirm what the target counts, put before a person what it has and does not, and look for the rest again."""
    try:
        there, arrived = told_by_target(context, held.case.failure.account, held.journal, submission)
    except (Transient, Permanent) as error:
        _look_later(context, held, submission, str(error))
        return
    reasons = pl.DataFrame([astuple(one) for one in arrived.not_counted], schema=REASON_SCHEMA, orient="row")
    counted = there.filter(pl.col(IDENTIFIER).is_in(arrived.counted)) if arrived.counted else there.clear()
    moves = [
        *_confirmed_ones(context, submission, counted, {"by": BY_TARGET, "proof": arrived.proof}),
        *set_aside(context, submission, reasons, failure_key=f"not_counted:{submission.id}"),
    ]
    missing = there.height - counted.height - reasons.height
    if moves or not missing:
        with held.transaction() as transaction:
            transaction.move(*moves)
            if not missing:
                transaction.submissions.settled(submission.id)
    if missing:
        _look_later(context, held, submission, f"{missing:,} records are not to be found there")


def _settle_by_totals(
    context: Context, held: HeldCase, submission: Submission, overlapping: Sequence[Submission]
) -> None:
    """Confirm what the totals show. `at_least`: more was counted than we sent, so it may be others' usage."""
    try:
        days = grown(context, held, submission, overlapping)
    except (Transient, Permanent) as error:
        _look_later(context, held, submission, str(error))
        return
    missing = [day for day in days if not day.is_enough]
    if missing:
        _look_later(context, held, submission, [day.to_json() for day in missing])
        return
    proof = [day.to_json() for day in days]
    detail = {"by": BY_SUMMARIES, "proof": proof, "at_least": any(day.is_more for day in days)}
    _settle(context, held, submission, detail)


def _look_later(context: Context, held: HeldCase, submission: Submission, missing: str | list[Any]) -> None:
    """Wait as long again as it was waited until now; say once that the deadline has passed without it.

    `missing` is what has not shown, or why Stripe does not tell.
    """
    now = context.clock()
    sent_at = submission.sent_at or now
    if now - sent_at >= MAX_AGE:
        _give_up(context, held, submission)
        return
    deadline = sent_at + context.confirmation_deadline
    again = now + _next_look(submission, now)
    with held.transaction() as transaction:
        transaction.submissions.wait_until(submission.id, min(again, deadline) if now < deadline else again)
        if now >= deadline and not is_noted(held.journal, submission.id):
            transaction.move(_unconfirmed(submission, missing))


def _next_look(submission: Submission, now: datetime) -> timedelta:
    return min(max(now - (submission.sent_at or now), _SHORTEST_LOOK), LONGEST_LOOK)


def _unconfirmed(submission: Submission, missing: str | list[Any]) -> Movement:
    nothing = Decimal(0)
    detail = {UNCONFIRMED: missing} | ({} if submission.is_at_stripe else {"by": BY_TARGET})
    return Movement(EntryKind.NOTED, None, None, 0, nothing, submission_id=submission.id, detail=detail)


def _give_up(context: Context, held: HeldCase, submission: Submission) -> None:
    """Put what has never shown before a person: usage of its age is not taken any more."""
    there = records_in(context, held.journal, Bucket.SUBMITTED, submission_id=submission.id)
    moves = list[Movement]()
    if there is not None:
        advice = _NOT_SHOWN if submission.is_at_stripe else _NOT_THERE
        reasons = there.select(
            IDENTIFIER, pl.lit(ARRIVAL_UNKNOWN).alias(REASON), pl.lit(advice).alias(SUGGESTION)
        ).collect()
        moves += set_aside(context, submission, reasons, failure_key=f"unconfirmed:{submission.id}")
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
    now = context.clock()
    latest = now + context.confirmation_window
    late = [s for s in _sent(held) if _ends(s) > max(latest, now + _next_look(s, now)) + LONGEST_WAIT]
    if late:
        with held.transaction() as transaction:
            for submission in late:
                transaction.submissions.wait_until(submission.id, latest)


def _ends(submission: Submission) -> datetime:
    assert submission.confirm_at is not None, "a submission that was sent has a window"
    return submission.confirm_at


def _sent(held: HeldCase) -> list[Submission]:
    return [s for s in held.submissions if s.state is SubmissionState.SENT]


def _confirmed(
    context: Context, held: HeldCase, submission: Submission, detail: Mapping[str, Any]
) -> Iterator[Movement]:
    ref = keep_records_in(context, held, Bucket.SUBMITTED, "confirmed", submission_id=submission.id)
    if ref is not None:
        yield from _confirmation(context, submission, ref, detail)


def _confirmed_ones(
    context: Context, submission: Submission, records: pl.DataFrame, detail: Mapping[str, Any]
) -> Iterator[Movement]:
    if not records.is_empty():
        yield from _confirmation(
            context, submission, keep(context, submission.case_id, "confirmed", records), detail
        )


def _confirmation(
    context: Context, submission: Submission, ref: RecordSetRef, detail: Mapping[str, Any]
) -> Iterator[Movement]:
    route = Bucket.SUBMITTED, Bucket.CONFIRMED
    confirmed = movement(context, EntryKind.CONFIRMED, route, ref, submission=submission, detail=detail)
    if confirmed.records:
        yield confirmed
