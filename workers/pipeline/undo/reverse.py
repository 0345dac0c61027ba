"""Counter-entries: usage of the negated quantity, for what Stripe cancels no more.

A counter-entry is a case of its own, planned as it stands, so that it is sent, confirmed and proved like any other
usage, under identifiers of its own that follow from those it takes back. Only a meter that sums can take one: one
that counts events ignores the quantity, one that keeps the last would keep the negative one (Stripe docs, "Record
usage for billing"). The usage keeps its time, so it has to lie within the 35 days that Stripe takes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.case import Case, Failure
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.submissions import Submission
from workers.kernel.places import is_at_stripe
from workers.kernel.reasons import COUNTER_ENTERED
from workers.pipeline.case_key import COUNTER_ENTRY, COUNTERED
from workers.pipeline.context import Context
from workers.pipeline.livemode import require_own_mode
from workers.pipeline.lookups import meters_of
from workers.pipeline.record_sets import DATA, RECORD, keep, movement, numbered, scan
from workers.pipeline.submit.outcomes import billed_records
from workers.pipeline.undo.approvals import COUNTER, approve, open_approval, taken_back
from workers.records.catalog import Meter
from workers.records.schema import (
    CODE,
    EVENT_NAME,
    IDENTIFIER,
    MAX_AGE,
    MAX_IDENTIFIER_LENGTH,
    QUANTITY,
    REASON,
    SUGGESTION,
    TIMESTAMP,
)

MARK: Final = "~undo"
_TIGHTEST: Final = 3600
"""Seconds that a record must still have before it is too old: it has to arrive in time."""

_WHY: Final = "@why"


@dataclass(frozen=True)
class CounterEntered:
    """What came of a counter-entry: `left` counts the records that cannot have one, by the reason."""

    submission_id: str
    case_id: str | None
    records: int
    left: Mapping[str, int]


def counter_enter(context: Context, submission: Submission, *, approved_by: str) -> CounterEntered:
    """Take back what still counts of a submission by usage of the negated quantity.

    What a crash leaves open, the case's next turn goes on with, as a second call does. Raises Conflict while a
    worker holds the case, and InputUnusable where usage goes to another biller than this went to.
    """
    with context.ledger.cases.hold(submission.case_id, context.owner, context.lease) as held:
        require_own_mode(context, submission.case_id, livemode=held.case.failure.livemode)
        _require_same_biller(context, held.case, submission)
        left: Mapping[str, int] = {}
        if open_approval(held, COUNTER, submission) is None:
            possible, left = _possible(context, held.case, submission)
            if possible.is_empty():
                return CounterEntered(submission.id, None, 0, left)
            approve(context, held, possible.lazy(), {COUNTER: submission.id}, approved_by)
        entered = finish_counter_entry(context, held, submission)
    assert entered is not None
    return replace(entered, left=left)


def finish_counter_entry(context: Context, held: HeldCase, submission: Submission) -> CounterEntered | None:
    """Counter what is approved and still counts; return None when no counter-entry to the submission is open."""
    found = open_approval(held, COUNTER, submission)
    if found is None:
        return None
    undo_id, approved = found
    billed, case_id = billed_records(context, submission), None
    if billed is not None:  # without what Stripe has refused since
        chosen = scan(context, approved).join(billed, on=RECORD, how="semi", maintain_order="left").collect()
        case_id = None if chosen.is_empty() else _open_case(context, held.case, submission, undo_id, chosen)
    advice = f"{case_id} takes it back: see that it is confirmed before you bill this otherwise."
    words = pl.lit(COUNTER_ENTERED).alias(REASON), pl.lit(advice).alias(SUGGESTION)
    reasons = scan(context, approved).select(RECORD, *words)
    moves = taken_back(context, submission, reasons, {"undo_id": undo_id, "counter_case": case_id})
    with held.transaction() as transaction:
        transaction.move(*moves)
    return CounterEntered(submission.id, case_id, sum(move.records for move in moves), {})


def _require_same_biller(context: Context, case: Case, submission: Submission) -> None:
    """Raise InputUnusable where SUBMIT_TO leads to another biller by now: the wrong one would pay it back."""
    target = context.target_of(case.failure.account)
    if target is not None and is_at_stripe(target.name) != submission.is_at_stripe:
        what = f"it went to {submission.target}, and SUBMIT_TO leads to {target.name} now"
        raise InputUnusable(what, where=submission.id, mend="set SUBMIT_TO back until it has been taken back")


def _possible(context: Context, case: Case, submission: Submission) -> tuple[pl.DataFrame, Mapping[str, int]]:
    """Return the records that can be countered, and how many cannot, by the reason."""
    records = billed_records(context, submission)
    if records is None:
        return pl.DataFrame(), {}
    meters = {meter.event_name: meter for meter in meters_of(context, case.failure.account) if meter.active}
    summing = [name for name, meter in meters.items() if meter.formula == "sum" and not meter.event_time_window]
    oldest = int((context.clock() - MAX_AGE).timestamp()) + _TIGHTEST
    why = (
        pl.when(~pl.col(EVENT_NAME).is_in(list(meters)))
        .then(pl.lit("meter_not_active"))
        .when(~pl.col(EVENT_NAME).is_in(summing))
        .then(pl.lit("meter_does_not_sum"))
        .when(pl.col(QUANTITY).is_null())
        .then(pl.lit("quantity_not_readable"))
        .when(pl.col(TIMESTAMP).cast(pl.Int64, strict=False).fill_null(0) < oldest)
        .then(pl.lit("usage_too_old"))
    )
    judged = records.with_columns(why.alias(_WHY)).collect()
    left = judged.filter(pl.col(_WHY).is_not_null())[_WHY].value_counts(sort=True)
    return judged.filter(pl.col(_WHY).is_null()).drop(_WHY), dict(left.iter_rows())


def _open_case(context: Context, case: Case, submission: Submission, undo_id: str, chosen: pl.DataFrame) -> str:
    """Open the counter-entry's case with everything planned; an earlier try may have done so already."""
    failure = Failure(
        key=f"counter_entry:{undo_id}",
        kind=COUNTER_ENTRY,
        livemode=case.failure.livemode,
        account=case.failure.account,
        summary=f"counter-entry to {submission.id}",
        code=COUNTER_ENTRY,
        event_name=case.failure.event_name,
    )
    with context.ledger.cases.hold(failure, context.owner, context.lease) as held:
        if held.case.version == 0:
            negated = _negated(chosen, meters_of(context, failure.account))
            ref = keep(context, held.case.id, "planned", negated)
            with held.transaction(last=True) as transaction:
                transaction.move(movement(context, EntryKind.SEEN, (None, Bucket.PENDING), ref))
                route, detail = (Bucket.PENDING, Bucket.PLANNED), {COUNTERED: submission.target}
                transaction.move(movement(context, EntryKind.PLANNED, route, ref, detail=detail))
                transaction.reschedule(context.clock())
    return failure.case_id


def _negated(records: pl.DataFrame, meters: Sequence[Meter]) -> pl.DataFrame:
    """Return usage of the negated quantities, under identifiers of its own."""
    negated = pl.when(pl.col(QUANTITY).str.starts_with("-")).then(pl.col(QUANTITY).str.strip_prefix("-"))
    frame = records.with_columns(
        negated.otherwise(pl.concat_str(pl.lit("-"), QUANTITY)).alias(QUANTITY),
        pl.col(IDENTIFIER).map_elements(counter_identifier, return_dtype=pl.String),
        pl.lit(COUNTER_ENTRY).alias(CODE),
    )
    names = {meter.event_name: meter.value_column for meter in meters}
    for column in sorted({names[name] for name in frame[EVENT_NAME].unique()}):
        theirs = [name for name, value_column in names.items() if value_column == column]
        value = pl.when(pl.col(EVENT_NAME).is_in(theirs)).then(QUANTITY).otherwise(pl.col(column))
        frame = frame.with_columns(value.alias(column))
    return numbered(frame, first=0, refused_as=DATA)


def counter_identifier(identifier: str) -> str:
    """Return the identifier of the counter-entry to the record that was sent under `identifier`."""
    if len(identifier) > MAX_IDENTIFIER_LENGTH - len(MARK):
        identifier = "mm-" + hashlib.sha256(identifier.encode()).hexdigest()
    return identifier + MARK
