"""Asking the guards just before planned records are sent, and intending what they leave.

A plan may be old: no target was set, or it was away. Meanwhile another case may have sent the same usage, and a
record may have become too old. Whether a window of a pre-aggregated meter is free is asked only here.

What the guards say holds until the account has another submission. So the intent is written in the turn that was
the account's next before they were asked; where another worker has taken it, they look at his submissions, and the
intent is tried again. Between the intent and the sending there may be an outage or a crash: what time can have
changed is asked once more directly before each chunk (`last_look`).

Usage of pre-aggregated meters goes in submissions of its own, and to a target that has it at once, if there is one.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.errors import Overtaken, Permanent, Transient
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind, RecordSetRef
from workers.kernel.ledger.submissions import Submission
from workers.kernel.places import METER_EVENTS, is_at_stripe
from workers.kernel.reasons import WINDOW_OPEN
from workers.pipeline.case_key import COUNTER_ENTRY, COUNTERED
from workers.pipeline.context import Context
from workers.pipeline.hold import first_stopped, quarantined
from workers.pipeline.record_sets import (
    ORIGIN,
    PART_RECORDS,
    RECORD,
    as_before_plan,
    keep,
    keep_records_in,
    movement,
    reasons_of,
    scan,
)
from workers.pipeline.submit.arrival import totals_before
from workers.pipeline.submit.guards import planned_long_ago, resubmitted, too_old
from workers.pipeline.submit.last_look import was_sent_before
from workers.pipeline.submit.lost_ledger import perhaps_sent
from workers.pipeline.submit.meter_windows import WINDOW_END, Windows, windows_of
from workers.pipeline.submit.part_guards import imported_all_the_same
from workers.pipeline.submit.send import intend
from workers.pipeline.submit.submitted_index import recent_submissions
from workers.pipeline.submit.window_guards import (
    overwrites_sent,
    waiting_for_window,
    would_overwrite,
)
from workers.records.schema import OUTCOME, REASON, TIMESTAMP, VALID_FROM
from workers.records.timestamps import rfc3339
from workers.targets import Proving, Target

MOST_OVERTAKEN: Final = 20
"""How often an intent may lose its turn at a stretch; then the case waits for a quieter moment."""
_QUIETER_SECONDS: Final = 5.0


def intend_what_may_go(context: Context, held: HeldCase) -> Submission | None:
    """Put planned records before a person that must not be sent any more, and commit the intent to send others.

    Return the submission that is to be sent, None when nothing is left to send. What goes to another target is left
    as planned. Raises Transient when other submissions of the account went first `MOST_OVERTAKEN` times.
    """
    account, submissions = held.case.failure.account, context.ledger.submissions
    turn = submissions.last_turn(account)
    windows = windows_of(context, account)
    _put_back_resent(context, held)
    if _has_planned(held):
        _ask_all(context, held, windows)
    for _ in range(MOST_OVERTAKEN):
        if not _has_planned(held):
            return None
        try:
            target, planned_part = _next_part(context, held, windows)
            _require_same_biller(held, target)
            by_totals = not isinstance(target, Proving)
            totals = totals_before(context, account, windows.catalog, planned_part) if by_totals else {}
            return intend(context, held, target, planned_part, turn, totals)
        except Overtaken:
            seen, turn = turn, submissions.last_turn(account)
            planned, newer = _planned(context, held), [one for _, one in submissions.after_turn(account, seen)]
            _set_aside(context, held, planned, _stopped_by(context, held, windows, planned, newer))
    raise Transient("other submissions of the account keep going first", retry_after=_QUIETER_SECONDS)


def _ask_all(context: Context, held: HeldCase, windows: Windows) -> None:
    """Ask every guard, and let usage wait that would go by file while its window is open."""
    planned, target = _planned(context, held), context.window_target_of(held.case.failure.account)
    at_once = target is None or target.at_once
    waiting, by_file = waiting_for_window(context, held, windows, planned.clear() if at_once else planned)
    going = planned.join(waiting.lazy(), on=RECORD, how="anti", maintain_order="left")
    stopped = first_stopped(_stopped(context, held, windows, going), by_file)
    _defer(context, held, planned, waiting)
    _set_aside(context, held, planned, stopped)


def _has_planned(held: HeldCase) -> bool:
    return held.case.balance[Bucket.PLANNED].records > 0


def _all_planned(context: Context, held: HeldCase) -> RecordSetRef:
    ref = keep_records_in(context, held, Bucket.PLANNED, "planned")
    assert ref is not None, "the journal holds planned records without a record set"
    return ref


def _planned(context: Context, held: HeldCase) -> pl.LazyFrame:
    """Return the planned records without those that somebody has approved by name, knowing why they waited."""
    return scan(context, _all_planned(context, held)).filter(~was_sent_before())


def _next_part(context: Context, held: HeldCase, windows: Windows) -> tuple[Target, RecordSetRef]:
    """Return what is to be sent next, and where to: usage of pre-aggregated meters first, and by itself."""
    account = held.case.failure.account
    target, window_target = context.target_of(account), context.window_target_of(account)
    assert target is not None
    assert window_target is not None
    planned = _all_planned(context, held)
    if not windows:
        return target, planned
    windowed = scan(context, planned).filter(windows.concern())
    count = windowed.select(pl.len()).collect().item()
    if count in (0, held.case.balance[Bucket.PLANNED].records):
        return (window_target if count else target), planned
    return window_target, keep(context, held.case.id, "planned", windowed)


def _require_same_biller(held: HeldCase, target: Target) -> None:
    """Raise Permanent where a counter-entry would go to another biller than what it takes back went to."""
    if held.case.failure.kind != COUNTER_ENTRY:
        return
    # A ledger of before there was another biller does not say it.
    went_to = next((e.detail[COUNTERED] for e in held.journal if COUNTERED in e.detail), METER_EVENTS)
    if is_at_stripe(went_to) != is_at_stripe(target.name):
        raise Permanent(
            f"what it takes back went to {went_to}, and SUBMIT_TO leads to {target.name} now: set SUBMIT_TO back"
        )


def _put_back_resent(context: Context, held: HeldCase) -> None:
    """Put approved records back as they are where nobody could send them for a day: the word is as old as that."""
    planned = scan(context, _all_planned(context, held)).filter(was_sent_before())
    old = planned_long_ago(context, held, planned.select(RECORD).collect())
    if not old.is_empty():
        back = planned.join(old.lazy(), on=RECORD, how="semi")
        _quarantine(context, held, back.with_columns(pl.lit(Outcome.QUARANTINED.value).alias(OUTCOME)))


def _set_aside(context: Context, held: HeldCase, planned: pl.LazyFrame, stopped: pl.DataFrame) -> None:
    """Put stopped records before a person, as they were before the plan."""
    if not stopped.is_empty():
        before = as_before_plan(context, held.journal, planned.join(stopped.lazy(), on=RECORD, how="semi"))
        _quarantine(context, held, quarantined(before, stopped))


def _quarantine(context: Context, held: HeldCase, records: pl.LazyFrame) -> None:
    aside = keep(context, held.case.id, "stopped", records)
    route, detail = (Bucket.PLANNED, Bucket.QUARANTINED), {"reasons": reasons_of(scan(context, aside))}
    with held.transaction() as transaction:
        transaction.move(movement(context, EntryKind.QUARANTINED, route, aside, detail=detail))


def _defer(context: Context, held: HeldCase, planned: pl.LazyFrame, waiting: pl.DataFrame) -> None:
    """Let records wait until their windows are over."""
    if waiting.is_empty():
        return
    ends = rfc3339(pl.col(WINDOW_END)).alias(VALID_FROM)
    marked = planned.drop(VALID_FROM, strict=False).join(
        waiting.lazy().select(RECORD, ends), on=RECORD, how="inner", maintain_order="left"
    )
    deferred = marked.with_columns(pl.lit(Outcome.DEFERRED.value).alias(OUTCOME), pl.lit(WINDOW_OPEN).alias(REASON))
    ref = keep(context, held.case.id, Outcome.DEFERRED, deferred)
    route, detail = (Bucket.PLANNED, Bucket.DEFERRED), {"reasons": {WINDOW_OPEN: waiting.height}}
    with held.transaction() as transaction:
        transaction.move(movement(context, EntryKind.DEFERRED, route, ref, detail=detail))


def _stopped(context: Context, held: HeldCase, windows: Windows, planned: pl.LazyFrame) -> pl.DataFrame:
    case, now = held.case, context.clock()
    stopped = [
        first_stopped(resubmitted(context, case, part), too_old(part, now), planned_long_ago(context, held, part))
        for part in _parts(planned)
    ]
    recent = recent_submissions(context, case.failure.account) if windows else []
    lost = perhaps_sent(context, held, windows, planned)
    imported = imported_all_the_same(context, held, planned)
    return first_stopped(*stopped, imported, lost, would_overwrite(context, held, windows, planned, recent))


def _stopped_by(
    context: Context, held: HeldCase, windows: Windows, planned: pl.LazyFrame, newer: list[Submission]
) -> pl.DataFrame:
    """Ask only whether submissions that have come since carry the same usage, or fill the same windows."""
    twice = [resubmitted(context, held.case, part, newer) for part in _parts(planned)]
    return first_stopped(*twice, overwrites_sent(context, held.case, windows, planned, newer))


def _parts(planned: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    return planned.select(RECORD, ORIGIN, TIMESTAMP).collect_batches(chunk_size=PART_RECORDS)
