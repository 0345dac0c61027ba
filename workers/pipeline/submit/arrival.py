"""Whether a submission shows in Stripe's totals: they are read before it is intended, and again after its window.

Submissions that overlap in time grow the same totals. So a day counts as grown only where it holds the sum of all
that was sent to it, measured from the earliest of their baselines.
"""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Permanent, Transient
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind, RecordSetRef
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.lookups import meters_of
from workers.pipeline.record_sets import records_in, scan
from workers.pipeline.submit.outcomes import billed_records
from workers.pipeline.submit.own_word import told_by_target
from workers.pipeline.totals.growth import (
    Baseline,
    Growth,
    Totals,
    Untold,
    amounts,
    growth,
    read_baseline,
    totals_now,
)
from workers.pipeline.totals.stripe_totals import margin
from workers.records.catalog import Catalog
from workers.records.schema import EVENT_NAME

TOTALS_BEFORE: Final = "totals_before"
TOTALS_UNTOLD: Final = "totals_untold"
"""In the entry of an intent: Stripe's totals just before it, or why none are known."""
MOST_AT_ONCE: Final = 50
"""Submissions of an account that may overlap; of more it is not told apart which of them a total holds."""


def totals_before(
    context: Context, account: str | None, catalog: Catalog, record_set: RecordSetRef
) -> dict[str, Any]:
    """Return what the entry of an intent says of Stripe's totals. Sending never waits for them."""
    try:
        baseline = read_baseline(context, account, catalog, scan(context, record_set))
    except (Transient, Permanent) as error:
        return {TOTALS_UNTOLD: str(error)}
    return {TOTALS_BEFORE: baseline.to_json()}


def shown_with(context: Context, held: HeldCase, submission: Submission) -> list[Submission] | None:
    """Return the submissions that grow the totals in which this one can show, itself among them.

    None where Stripe's totals were not read before it, or too many others overlap with it.
    """
    if _baseline(held.journal, submission) is None:
        return None
    overlapping = _overlapping(context, held.case.failure.account, submission)
    return overlapping if len(overlapping) <= MOST_AT_ONCE else None


def grown(
    context: Context, held: HeldCase, submission: Submission, overlapping: Sequence[Submission]
) -> list[Growth]:
    """Return how the totals of what stands as submitted have grown since the first of what overlaps with it.

    Raises Untold, Transient and Permanent where Stripe does not tell them.
    """
    account = held.case.failure.account
    catalog = Catalog(meters=meters_of(context, account))
    there = records_in(context, held.journal, Bucket.SUBMITTED, submission_id=submission.id)
    own = amounts(there, catalog) if there is not None else {}
    before: dict[Any, Any] = {}
    for other in overlapping:
        is_ours = other.case_id == held.case.id
        baseline = _baseline(held.journal if is_ours else context.ledger.queries.entries(other.case_id), other)
        for one, total in baseline.totals.items() if baseline else ():
            before[one] = min(total, before.get(one, total))
    now = totals_now(context, account, catalog, own)
    return growth(
        before, now, [_standing(context, other, catalog, submission.event_names) for other in overlapping]
    )


def nothing_arrived(
    context: Context, account: str | None, journal: Sequence[EntryRow], submission: Submission
) -> bool:
    """Tell whether none of the totals that a submission grows has grown since just before it was intended.

    Others' usage grows them as well, so False says nothing. Where Stripe does not know of it, its target is asked.
    Raises Untold, Transient and Permanent where neither tells.
    """
    if not submission.is_at_stripe:
        _, arrived = told_by_target(context, account, journal, submission)
        return not arrived.counted and not arrived.not_counted
    baseline = _baseline(journal, submission)
    if baseline is None:
        raise Untold("they were not read before it was sent")
    catalog = Catalog(meters=meters_of(context, account))
    now = totals_now(context, account, catalog, list(baseline.totals))
    return all(now[day] <= before + margin(before, now[day]) for day, before in baseline.totals.items())


def _overlapping(context: Context, account: str | None, submission: Submission) -> list[Submission]:
    """Return the submissions that grow the same meters, itself among them.

    What was intended longer before it than a confirmation may take stands in its baseline.
    """
    since = submission.intended_at - context.confirmation_window - context.confirmation_deadline
    names = set(submission.event_names)
    others = context.ledger.submissions.since(since, account)
    return [one for one in others if one.is_at_stripe and names & set(one.event_names)]


def _baseline(journal: Sequence[EntryRow], submission: Submission) -> Baseline | None:
    """Return what Stripe's totals were before a submission; `journal` is its case's."""
    intents = (e for e in journal if e.kind == EntryKind.INTENDED and e.submission_id == submission.id)
    told = next(intents).detail.get(TOTALS_BEFORE)
    return Baseline.from_json(told) if told else None


def _standing(context: Context, submission: Submission, catalog: Catalog, names: tuple[str, ...]) -> Totals:
    billed = billed_records(context, submission)
    return {} if billed is None else amounts(billed.filter(pl.col(EVENT_NAME).is_in(names)), catalog)
