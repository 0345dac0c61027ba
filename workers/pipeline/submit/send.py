"""Sending planned records: the intent is committed first, the target is called, its answer is committed after.

A crash before the answer leaves a submission `intended`; calling `submit` again sends the same submission under the
same id, and the target resumes instead of repeating.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Permanent
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.chunks import Renewed
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.submissions import Intent, Submission, SubmissionState
from workers.kernel.places import DASHBOARD
from workers.kernel.reasons import ARRIVAL_UNKNOWN
from workers.pipeline.context import Context
from workers.pipeline.hold import quarantined
from workers.pipeline.record_sets import (
    DATA,
    RECORD,
    as_before_plan,
    keep,
    movement,
    path_of,
    reasons_of,
    records_in,
    scan,
)
from workers.pipeline.submit.last_look import LastLook
from workers.pipeline.submit.outcomes import REASON_SCHEMA, REFUSAL_SCHEMA, held_reasons, refuse, set_aside
from workers.pipeline.submit.shared_file import as_stored, begin_together, chunk_of, send_together
from workers.records.schema import EVENT_NAME, IDENTIFIER
from workers.targets import Chunk, Outgoing, Rows, Sent, Target, Withheld

MayNotGo = Callable[[Rows], tuple[Withheld, ...]]


def submit(context: Context, held: HeldCase, submission: Submission) -> None:
    """Send what was intended, alone or in a file with others that wait, or go on with what a crash left open.

    Raises Transient when the target takes no more for now, Permanent when a person has to look.
    """
    account = held.case.failure.account
    target = partial(_target_of, context, account, submission)
    begun = context.ledger.chunks.of(submission.id)
    file = begun[min(begun)].file if begun else _begin(context, held, submission, target())
    if file is None or submission.target == DASHBOARD:
        look = LastLook(context, held, submission)
        progress = LedgerProgress(context.ledger, submission.id, held.renewed, look)
        outgoing = Outgoing(submission.id, account, path_of(context, submission.ref), submission.records)
        sent = target().send(outgoing, progress)
    else:
        sent = send_together(context, account, submission, file, target, fresh=not begun)
    _note_answer(context, held, submission, sent)


def _begin(context: Context, held: HeldCase, submission: Submission, target: Target) -> str | None:
    """Wait for the submission's turn, and return the file that it shares, if it shares one."""
    target.keep_pace()
    return None if target.at_once else begin_together(context, held, submission)


def _target_of(context: Context, account: str | None, submission: Submission) -> Target:
    """Return the target that has begun the submission: only that one can tell how far it came.

    Raises Permanent where SUBMIT_TO does not lead there any more.
    """
    target = context.target_named(submission.target, account)
    if target is None:
        usual = context.target_of(account)
        leads = usual.name if usual else "nowhere"
        raise Permanent(
            f"{submission.id} was begun with {submission.target} and SUBMIT_TO leads to {leads} now: "
            "set SUBMIT_TO back until it has been sent"
        )
    return target


@dataclass
class LedgerProgress:
    """A target's progress through one submission, kept in the ledger; each intent renews the lease on the case."""

    _ledger: Ledger
    _submission_id: str
    _renewed: Renewed
    may_not_go: MayNotGo

    def chunks(self) -> Mapping[int, Chunk]:
        known = self._ledger.chunks.of(self._submission_id)
        return {number: chunk_of(stored) for number, stored in known.items()}

    def intend(self, number: int, rows: Rows, withheld: tuple[Withheld, ...]) -> None:
        """Commit that a chunk is about to be sent. Raises Conflict when the lease was lost."""
        words = as_stored(withheld)
        self._ledger.chunks.intend(self._renewed, self._submission_id, number, rows.first, rows.records, words)

    def finish(self, number: int, result: Any) -> None:
        self._ledger.chunks.finish(self._submission_id, number, result)


def open_submission(held: HeldCase) -> Submission | None:
    """Return the case's submission that is intended and not yet answered, if there is one."""
    return next((s for s in held.submissions if s.state is SubmissionState.INTENDED), None)


def intend(
    context: Context,
    held: HeldCase,
    target: Target,
    record_set: RecordSetRef,
    last_turn: int,
    totals: Mapping[str, Any],
) -> Submission:
    """Commit that these planned records are about to be sent, and return the submission.

    `totals` says what Stripe's totals were just before (`arrival.totals_before`): the entry keeps it.
    Raises Overtaken when the account has had another submission since `last_turn`.
    """
    ordinal = len(held.submissions) + 1
    submission_id = f"{held.case.id}-{ordinal}"
    route = Bucket.PLANNED, Bucket.SUBMITTED
    moved = movement(context, EntryKind.INTENDED, route, record_set, detail=totals)
    intended = replace(moved, revision=ordinal, submission_id=submission_id)
    names = scan(context, record_set).select(pl.col(EVENT_NAME).unique().sort()).collect().to_series()
    intent = Intent(
        submission_id, ordinal, target.name, intended.records, intended.quantity, tuple(names), record_set
    )
    with held.transaction() as transaction:
        transaction.submissions.intend(intent, last_turn)
        transaction.move(intended)
    return next(s for s in held.submissions if s.id == submission_id)


def _note_answer(context: Context, held: HeldCase, submission: Submission, sent: Sent) -> None:
    """Write the answer down: the whole of it in one commit."""
    key = f"answer:{submission.id}"
    refused = pl.DataFrame([astuple(record) for record in sent.refused], schema=REFUSAL_SCHEMA, orient="row")
    uncertain = pl.DataFrame(_uncertain(sent), schema=REASON_SCHEMA, orient="row")
    taken = pl.Series([record.identifier for record in sent.held], dtype=pl.String)
    tried = {record.identifier for record in sent.held if record.tried_before}
    exists = held_reasons(context, held.case.failure.account, submission, taken, tried=tried)
    moves = [
        *refuse(context, submission, refused, refused_as=DATA, failure_key=key),
        *set_aside(context, submission, pl.concat([uncertain, exists]), failure_key=key),
        *_never_sent(context, held, submission, [one for one in sent.withheld if not one.tried_before]),
    ]
    with held.transaction() as transaction:
        transaction.move(_sent_entry(submission, sent))
        transaction.submissions.sent(submission.id, sent.location, context.clock() + context.confirmation_window)
        transaction.move(*moves)


def _never_sent(
    context: Context, held: HeldCase, submission: Submission, withheld: Sequence[Withheld]
) -> Iterator[Movement]:
    """Yield the entry for what a guard stopped at the last look: before a person, as it was before the plan."""
    if not withheld:
        return
    there = records_in(context, held.journal, Bucket.SUBMITTED, submission_id=submission.id)
    if there is None:
        return
    words = pl.DataFrame(
        [(one.identifier, one.reason, one.advice) for one in withheld], schema=REASON_SCHEMA, orient="row"
    )
    stopped = there.select(RECORD, IDENTIFIER).join(words.lazy(), on=IDENTIFIER).drop(IDENTIFIER).collect()
    if stopped.is_empty():  # what Stripe has told of them meanwhile has moved them already
        return
    before = as_before_plan(context, held.journal, there.join(stopped.lazy(), on=RECORD, how="semi"))
    yield movement(
        context,
        EntryKind.QUARANTINED,
        (Bucket.SUBMITTED, Bucket.QUARANTINED),
        keep(context, held.case.id, "stopped", quarantined(before, stopped)),
        submission=submission,
        detail={"reasons": reasons_of(stopped)},
    )


def _uncertain(sent: Sent) -> list[tuple[str, str, str]]:
    """Return records of which nobody can say whether they arrived: held, and not sent again."""
    return [
        *((identifier, ARRIVAL_UNKNOWN, _UNKNOWN) for identifier in sent.unresolved),
        *(
            (one.identifier, ARRIVAL_UNKNOWN, f"{_PERHAPS_SENT} {one.advice}")
            for one in sent.withheld
            if one.tried_before
        ),
    ]


_PERHAPS_SENT: Final = "It was tried before, may have arrived, and was not tried again:"
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
        "withheld": len(sent.withheld),
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
