"""Refusals of our own submissions: they join the case that the records came from, and are counted there once.

Nothing has to be remembered for that: a record that was refused no longer stands in its submission, and what does
not stand there cannot be moved again, however often Stripe tells it.
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement
from workers.kernel.ledger.submissions import Submission
from workers.kernel.reasons import PERHAPS_REFUSED
from workers.pipeline.context import Context
from workers.pipeline.record_sets import RECORD, REFUSED_AS, keep, movement, reasons_of
from workers.pipeline.submit.billed import billed_by_bucket, billed_records
from workers.records.schema import CODE, EVENT_NAME, IDENTIFIER, MESSAGE, PLAN_COLUMNS, QUANTITY, REASON, SUGGESTION

REFUSAL_SCHEMA: Final = {IDENTIFIER: pl.String, CODE: pl.String, MESSAGE: pl.String}
"""What a refusal says of each record. Identifiers are those that we sent."""

REASON_SCHEMA: Final = {IDENTIFIER: pl.String, REASON: pl.String, SUGGESTION: pl.String}
"""Why records of unknown fate are put before a person."""


def refuse(
    context: Context,
    held: HeldCase,
    submission: Submission,
    refusals: pl.DataFrame,
    *,
    refused_as: str,
    failure_key: str,
    event_id: str | None = None,
) -> Iterator[Movement]:
    """Yield the movements that take refused records back to pending, also those that counted as confirmed.

    `refusals` has the columns of REFUSAL_SCHEMA; `failure_key` names the refusal.
    """
    if refusals.is_empty():
        return
    stale = [name for name in (*PLAN_COLUMNS, CODE, MESSAGE) if name != QUANTITY]
    for bucket, records in billed_by_bucket(context, submission):
        matched = records.drop(stale, strict=False).join(refusals.unique(IDENTIFIER).lazy(), on=IDENTIFIER)
        refused = matched.with_columns(pl.lit(refused_as).alias(REFUSED_AS)).sort(RECORD)
        moved = movement(
            context,
            EntryKind.REFUSED,
            (bucket, Bucket.PENDING),
            keep(context, held.case.id, "refused", refused),
            revision=submission.revision,
            submission_id=submission.id,
            event_id=event_id,
            detail={"failure": failure_key},
        )
        if moved.records:
            yield moved


def set_aside(
    context: Context, held: HeldCase, submission: Submission, reasons: pl.DataFrame, *, failure_key: str
) -> Iterator[Movement]:
    """Yield the movements that put records of unknown fate before a person, also those that counted as confirmed.

    `reasons` has the columns of REASON_SCHEMA.
    """
    if reasons.is_empty():
        return
    for bucket, records in billed_by_bucket(context, submission):
        stale = records.drop(REASON, SUGGESTION, strict=False)
        matched = stale.join(reasons.unique(IDENTIFIER).lazy(), on=IDENTIFIER).sort(RECORD)
        moved = movement(
            context,
            EntryKind.HELD,
            (bucket, Bucket.QUARANTINED),
            keep(context, held.case.id, "held", matched),
            revision=submission.revision,
            submission_id=submission.id,
            detail={"failure": failure_key, "reasons": reasons_of(matched)},
        )
        if moved.records:
            yield moved


def set_aside_rest(
    context: Context,
    held: HeldCase,
    submission: Submission,
    refused: pl.DataFrame,
    unnamed: int,
    *,
    failure_key: str,
    event_name: str | None = None,
    among: pl.DataFrame | None = None,
) -> Iterator[Movement]:
    """Yield the movements that put the rest of a submission before a person.

    That is the rest of one event name, if given, and of those identifiers, if given. Stripe refused `unnamed` more
    records than it named, so that none of the rest can count as arrived.
    """
    billed = billed_records(context, submission) if unnamed else None
    if billed is None:
        return
    concerned = pl.lit(value=True) if event_name is None else pl.col(EVENT_NAME) == event_name
    left = billed.filter(concerned).join(refused.lazy(), on=IDENTIFIER, how="anti")
    if among is not None:
        left = left.join(among.lazy(), on=IDENTIFIER, how="semi")
    rest = left.select(IDENTIFIER).collect()
    advice = (
        f"Stripe refused {unnamed} more than it named, perhaps of these {rest.height}: compare with its summaries."
    )
    reasons = rest.with_columns(pl.lit(PERHAPS_REFUSED).alias(REASON), pl.lit(advice).alias(SUGGESTION))
    yield from set_aside(context, held, submission, reasons, failure_key=failure_key)
