"""What no single record can tell: records that must not be sent although they look repairable.

A record is closed to resubmission when Stripe has refused its last allowed revision, or when the same usage has
been resubmitted, by another case or as another row of its own: after Stripe has forgotten the identifier (24 hours)
that would be billed twice. The guards are asked for the plan, and once more before anything is sent (`preflight`).

Each guard returns what it stops as a frame of `STOPPED_SCHEMA`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from workers.kernel.clock import is_within
from workers.kernel.codes import Code
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import CaseReading
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.submissions import Submission
from workers.kernel.reasons import ALREADY_RESUBMITTED, PLANNED_LONG_AGO, REFUSED_AGAIN
from workers.pipeline.case_key import COUNTER_ENTRY
from workers.pipeline.context import Context
from workers.pipeline.hold import STOPPED_SCHEMA, first_stopped, quarantined, stop
from workers.pipeline.record_sets import ORIGIN, RECORD, REVISION, scan
from workers.pipeline.submit.submitted_index import CASE, carried, may_have_carried
from workers.records.schema import (
    MESSAGE,
    TIMESTAMP,
)
from workers.records.timestamps import Window

PLANS_HOLD: Final = timedelta(hours=24)
"""How long a plan is sent without being asked about; Stripe remembers no identifier for longer, either."""


_SENT: Final = "@sent"
_LONG_AGO: Final = (
    "Planned on {:%Y-%m-%d %H:%M} UTC, over a day ago or by a clock that was ahead: it may have been mended by "
    "hand meanwhile, look in Stripe's summaries before it is sent."
)
_TOO_LATE: Final = (
    "It became too old before it was sent: plan it anew where a rule may re-date it, or bill it otherwise."
)


def split_closed(context: Context, case: Case, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split pending records into those that are closed, as quarantined, and those that the engine may decide."""
    stopped = first_stopped(
        refused_too_often(frame, context.settings.max_attempts),
        resubmitted(context, case, frame),
    )
    closed = quarantined(frame.lazy(), stopped).collect()
    return closed, frame.join(stopped, on=RECORD, how="anti", maintain_order="left")


def refused_too_often(frame: pl.DataFrame, max_attempts: int) -> pl.DataFrame:
    """Stop records of which Stripe has refused the last allowed revision."""
    advice = pl.format("Stripe refused revision {} too: {}", REVISION, pl.col(MESSAGE).fill_null("no reason given"))
    return stop(frame.filter(pl.col(REVISION) >= max_attempts), REFUSED_AGAIN, advice)


def resubmitted(
    context: Context, case: Case, frame: pl.DataFrame, submissions: Sequence[Submission] | None = None
) -> pl.DataFrame:
    """Stop records whose usage a submission carries for another case or as another record: one of these, or any."""
    if submissions is None:
        submissions = may_have_carried(context, case.failure.account, ORIGIN, frame[ORIGIN])
    sent = carried(context, submissions, ORIGIN, frame[ORIGIN])
    pairs = frame.select(RECORD, ORIGIN).join(sent.rename({RECORD: _SENT}), on=ORIGIN, maintain_order="left_right")
    others = pairs.filter((pl.col(CASE) != case.id) | (pl.col(_SENT) != pl.col(RECORD)))
    advice = pl.format("{} has resubmitted the same identifier: compare before sending it again.", CASE)
    return stop(others.unique(RECORD, keep="first", maintain_order=True), ALREADY_RESUBMITTED, advice)


def too_old(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Stop planned records that were in time when they were planned and are not any more."""
    late = pl.col(TIMESTAMP).cast(pl.Int64, strict=False) < Window(now).oldest
    return stop(frame.filter(late), Code.TIMESTAMP_TOO_FAR_IN_PAST, _TOO_LATE)


def planned_long_ago(context: Context, held: CaseReading, records: pl.DataFrame) -> pl.DataFrame:
    """Stop records whose plan is older than `PLANS_HOLD`: somebody may have mended the usage by hand meanwhile.

    Of a plan that lies ahead, by a clock that was wrong, nobody knows how old it is: it is stopped as well.
    A counter-entry is sent however old: it takes back what we have billed, on somebody's word.
    """
    plans = [e for e in held.journal if e.kind == EntryKind.PLANNED]
    old = [plan for plan in plans if not is_within(plan.at, PLANS_HOLD, context.clock())]
    left, stopped = records.select(RECORD), [pl.DataFrame(schema=STOPPED_SCHEMA)]
    if held.case.failure.kind == COUNTER_ENTRY or not old:
        return stopped[0]
    for plan in reversed(plans):
        assert plan.ref is not None, "a plan has a record set"
        there = left.join(scan(context, plan.ref).select(RECORD).collect(), on=RECORD, how="semi")
        left = left.join(there, on=RECORD, how="anti")
        if plan in old:
            stopped.append(stop(there, PLANNED_LONG_AGO, _LONG_AGO.format(plan.at)))
    return pl.concat(stopped)
