"""Sending planned records: the intent is committed first, the target is called, its answer is committed after.

A crash before the answer leaves a submission `intended`; calling `submit` again sends the same submission under the
same id, and the target resumes instead of repeating.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Permanent
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.submissions import Intent, Submission, SubmissionState
from workers.pipeline.book import DATA, keep_records_in, movement, scan
from workers.pipeline.context import Context
from workers.pipeline.refusals import REASON_SCHEMA, REFUSAL_SCHEMA, refuse, set_aside
from workers.records.schema import EVENT_NAME
from workers.targets import Chunk, Outgoing, Sent, Target

IDENTIFIER_TAKEN: Final = "identifier_taken"
ARRIVAL_UNKNOWN: Final = "arrival_unknown"
HELD_BY_STRIPE: Final = (
    "Stripe already holds an event with this identifier that we did not send: compare before billing it."
)


def submit(context: Context, held: HeldCase, submission: Submission, target: Target) -> None:
    """Send what was intended, or go on with what a crash left open.

    Raises Transient when the target takes no more for now, Permanent when a person has to look.
    """
    _see_that_it_is_of(submission, target)
    sent = target.send(
        _outgoing(context, held, submission), LedgerProgress(context.ledger, submission.id, held.renew)
    )
    _note_answer(context, held, submission, sent)


def _see_that_it_is_of(submission: Submission, target: Target) -> None:
    """Raise Permanent where another target has begun the submission: only that one can tell how far it came."""
    if submission.target != target.name:
        raise Permanent(
            f"{submission.id} was begun with {submission.target} and SUBMIT_TO leads to {target.name} now: "
            "set SUBMIT_TO back until it has been sent"
        )


class LedgerProgress:
    """A target's progress through one submission, kept in the ledger; each step renews the lease on the case."""

    def __init__(self, ledger: Ledger, submission_id: str, renew: Callable[[], None]) -> None:
        self._ledger = ledger
        self._submission_id = submission_id
        self._renew = renew

    def chunks(self) -> Mapping[int, Chunk]:
        """Return every chunk that was ever intended."""
        known = self._ledger.submissions.chunks(self._submission_id)
        return {number: Chunk(intended_at, result) for number, (intended_at, result) in known.items()}

    def intend(self, number: int) -> None:
        """Commit that a chunk is about to be sent. Raises Conflict when the lease was lost."""
        self._renew()
        self._ledger.submissions.intend_chunk(self._submission_id, number)

    def finish(self, number: int, result: Any) -> None:
        """Commit what became of a chunk."""
        self._ledger.submissions.finish_chunk(self._submission_id, number, result)


def open_submission(context: Context, held: HeldCase) -> Submission | None:
    """Return the case's submission that is intended and not yet answered, if there is one."""
    submissions = context.ledger.submissions.of_case(held.case.id)
    return next((s for s in submissions if s.state is SubmissionState.INTENDED), None)


def intend(context: Context, held: HeldCase, target: Target, last_turn: int) -> Submission:
    """Commit that what is planned is about to be sent, and return it.

    Raises Overtaken when the account has had another submission since `last_turn`.
    """
    record_set = keep_records_in(context, held.case.id, Bucket.PLANNED, "planned")
    assert record_set is not None, "the book holds planned records without a record set"
    ordinal = len(context.ledger.submissions.of_case(held.case.id)) + 1
    submission_id = f"{held.case.id}-{ordinal}"
    intended = movement(
        context,
        EntryKind.INTENDED,
        (Bucket.PLANNED, Bucket.SUBMITTED),
        record_set,
        revision=ordinal,
        submission_id=submission_id,
    )
    names = scan(context, record_set).select(pl.col(EVENT_NAME).unique().sort()).collect().to_series()
    intent = Intent(
        submission_id, ordinal, target.name, intended.records, intended.quantity, tuple(names), record_set
    )
    with held.transaction() as transaction:
        transaction.submissions.intend(intent, last_turn)
        transaction.move(intended)
    submission = context.ledger.submissions.get(submission_id)
    assert submission is not None
    return submission


def _outgoing(context: Context, held: HeldCase, submission: Submission) -> Outgoing:
    path = context.archive.fetch(RecordSetRef(submission.record_set, submission.record_set_sha256))
    return Outgoing(submission.id, held.case.failure.account, path, submission.records)


def _note_answer(context: Context, held: HeldCase, submission: Submission, sent: Sent) -> None:
    """Write the answer down: the whole of it in one commit."""
    key = f"answer:{submission.id}"
    refused = pl.DataFrame([astuple(record) for record in sent.refused], schema=REFUSAL_SCHEMA, orient="row")
    uncertain = pl.DataFrame(_uncertain(sent), schema=REASON_SCHEMA, orient="row")
    moves = [
        *refuse(context, held, submission, refused, refused_as=DATA, failure_key=key),
        *set_aside(context, held, submission, uncertain, failure_key=key),
    ]
    with held.transaction() as transaction:
        transaction.move(_sent_entry(submission, sent))
        transaction.submissions.sent(submission.id, sent.location, context.clock() + context.confirmation_window)
        for movement in moves:
            transaction.move(movement)


def _uncertain(sent: Sent) -> list[tuple[str, str, str]]:
    """Return records that may stand at Stripe already: held, never counted as billed, and never sent again."""
    taken = {tried: [r.identifier for r in sent.held if r.tried_before is tried] for tried in (True, False)}
    return [
        *((identifier, IDENTIFIER_TAKEN, HELD_BY_STRIPE) for identifier in taken[False]),
        *((identifier, ARRIVAL_UNKNOWN, _PERHAPS_OURS) for identifier in taken[True]),
        *((identifier, ARRIVAL_UNKNOWN, _UNKNOWN) for identifier in sent.unresolved),
    ]


_PERHAPS_OURS: Final = (
    "A call of ours went unanswered and Stripe now holds its identifier: it is probably billed, its summaries tell."
)
_UNKNOWN: Final = (
    "The call went unanswered over a day ago: look the event up in Stripe's summaries before sending it."
)


def _sent_entry(submission: Submission, sent: Sent) -> Movement:
    detail = {
        "location": sent.location,
        "accepted": sent.accepted,
        "refused": len(sent.refused),
        "held": len(sent.held),
        "unresolved": len(sent.unresolved),
    }
    return Movement(
        EntryKind.SENT,
        None,
        None,
        submission.records,
        submission.quantity,
        revision=submission.revision,
        submission_id=submission.id,
        detail=detail,
    )
