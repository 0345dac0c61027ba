"""Asking the guards just before planned records are sent, and intending what they leave.

A plan may be old: no target was set, or it was away. Meanwhile another case may have sent the same usage, and a
record may have become too old. Whether a window of a pre-aggregated meter is free is asked only here.

What the guards say holds until the account has another submission. So the intent is written in the turn that was
the account's next before they were asked; where another worker has taken it, they look at his submissions, and the
intent is tried again.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.errors import Overtaken, Transient
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.movements import Bucket, EntryKind
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.book import ORIGIN, RECORD, as_before_plan, keep, keep_records_in, movement, scan
from workers.pipeline.carried import recent_submissions
from workers.pipeline.context import Context
from workers.pipeline.guards import first_stopped, quarantined, resubmitted, too_old
from workers.pipeline.lost_ledger import perhaps_sent
from workers.pipeline.overwriting import overwrites_sent, would_overwrite
from workers.pipeline.parts import PART_RECORDS
from workers.pipeline.reopening import SENT_BEFORE
from workers.pipeline.submitting import intend
from workers.pipeline.windows import Windows, windows_of
from workers.records.schema import REASON, TIMESTAMP
from workers.targets import Target

MOST_OVERTAKEN: Final = 20
"""How often an intent may lose its turn at a stretch; then the case waits for a quieter moment."""
_QUIETER_SECONDS: Final = 5.0


def intend_what_may_go(context: Context, held: HeldCase, target: Target) -> Submission | None:
    """Put planned records before a person that must not be sent any more, and commit the intent to send the others.

    Return the submission that is to be sent, None when nothing is left to send.
    Raises Transient when other submissions of the account went first `MOST_OVERTAKEN` times.
    """
    account, submissions = held.case.failure.account, context.ledger.submissions
    turn = submissions.last_turn(account)
    windows = windows_of(context, account)
    planned = _planned(context, held)
    _set_aside(context, held, planned, _stopped(context, held.case, windows, planned))
    for _ in range(MOST_OVERTAKEN):
        if not held.case.balance[Bucket.PLANNED].records:
            return None
        try:
            return intend(context, held, target, turn)
        except Overtaken:
            seen, turn = turn, submissions.last_turn(account)
            planned, newer = _planned(context, held), submissions.after_turn(account, seen)
            _set_aside(context, held, planned, _stopped_by(context, held.case, windows, planned, newer))
    raise Transient("other submissions of the account keep going first", retry_after=_QUIETER_SECONDS)


def _planned(context: Context, held: HeldCase) -> pl.LazyFrame:
    """Return the planned records without those that somebody has approved by name, knowing why they waited."""
    ref = keep_records_in(context, held.case.id, Bucket.PLANNED, "planned")
    assert ref is not None, "the book holds planned records without a record set"
    return scan(context, ref).filter(~pl.col(REASON).fill_null("").is_in(SENT_BEFORE))


def _set_aside(context: Context, held: HeldCase, planned: pl.LazyFrame, stopped: pl.DataFrame) -> None:
    """Put stopped records before a person, as they were before the plan."""
    if stopped.is_empty():
        return
    before = as_before_plan(context, held.case.id, planned.join(stopped.lazy(), on=RECORD, how="semi"))
    aside = keep(context, held.case.id, "stopped", quarantined(before, stopped))
    reasons = dict(stopped[REASON].value_counts(sort=True).iter_rows())
    route = (Bucket.PLANNED, Bucket.QUARANTINED)
    with held.transaction() as transaction:
        transaction.move(movement(context, EntryKind.QUARANTINED, route, aside, detail={"reasons": reasons}))


def _stopped(context: Context, case: Case, windows: Windows, planned: pl.LazyFrame) -> pl.DataFrame:
    """Ask every guard."""
    sent = recent_submissions(context, case.failure.account)
    stopped = [
        first_stopped(resubmitted(context, case, part, sent), too_old(part, context.clock()))
        for part in _parts(planned)
    ]
    lost = perhaps_sent(context, case, windows, planned)
    return first_stopped(*stopped, lost, would_overwrite(context, case, windows, planned, sent))


def _stopped_by(
    context: Context, case: Case, windows: Windows, planned: pl.LazyFrame, newer: list[Submission]
) -> pl.DataFrame:
    """Ask only whether submissions that have come since carry the same usage, or fill the same windows."""
    twice = [resubmitted(context, case, part, newer) for part in _parts(planned)]
    return first_stopped(*twice, overwrites_sent(context, case, windows, planned, newer))


def _parts(planned: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    return planned.select(RECORD, ORIGIN, TIMESTAMP).collect_batches(chunk_size=PART_RECORDS)
