"""Refusals of our own submissions: they join the case that the records came from, and are counted there once."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.book import RECORD, REFUSED_AS, keep, movement, records_in
from workers.pipeline.context import Context
from workers.records.schema import CODE, IDENTIFIER, MESSAGE, PLAN_COLUMNS, QUANTITY, REASON, SUGGESTION

PERHAPS_REFUSED: Final = "perhaps_refused"

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

    `refusals` has the columns of REFUSAL_SCHEMA; `failure_key` names the refusal, so that it is taken in once.
    """
    for bucket in (Bucket.SUBMITTED, Bucket.CONFIRMED):
        records = records_in(context, held.case.id, bucket, submission_id=submission.id)
        if records is None:
            continue
        stale = [name for name in (*PLAN_COLUMNS, CODE, MESSAGE) if name != QUANTITY]
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
    """Yield the movement that puts records of unknown fate before a person.

    `reasons` has the columns of REASON_SCHEMA.
    """
    records = records_in(context, held.case.id, Bucket.SUBMITTED, submission_id=submission.id)
    if records is None or reasons.is_empty():
        return
    matched = records.drop(REASON, SUGGESTION, strict=False).join(reasons.unique(IDENTIFIER).lazy(), on=IDENTIFIER)
    moved = movement(
        context,
        EntryKind.HELD,
        (Bucket.SUBMITTED, Bucket.QUARANTINED),
        keep(context, held.case.id, "held", matched.sort(RECORD)),
        revision=submission.revision,
        submission_id=submission.id,
        detail={"failure": failure_key, "reasons": dict(reasons[REASON].value_counts(sort=True).iter_rows())},
    )
    if moved.records:
        yield moved


def set_aside_unnamed(
    context: Context,
    held: HeldCase,
    submission: Submission,
    refused: pl.DataFrame,
    unnamed: int,
    *,
    failure_key: str,
) -> Iterator[Movement]:
    """Yield the movement that puts the rest of a submission before a person.

    Stripe refused `unnamed` more of it than it named, so that none of the rest can count as arrived.
    """
    records = records_in(context, held.case.id, Bucket.SUBMITTED, submission_id=submission.id)
    if not unnamed or records is None:
        return
    rest = records.select(IDENTIFIER).join(refused.lazy(), on=IDENTIFIER, how="anti").collect()
    advice = (
        f"Stripe refused {unnamed} more of these {rest.height} without naming them: compare with its summaries."
    )
    reasons = rest.with_columns(pl.lit(PERHAPS_REFUSED).alias(REASON), pl.lit(advice).alias(SUGGESTION))
    yield from set_aside(context, held, submission, reasons, failure_key=failure_key)


def is_taken_in(context: Context, case_id: str, failure_key: str) -> bool:
    """Whether the case's book already has this refusal, however often Stripe tells it."""
    entries = context.ledger.queries.entries(case_id)
    return any(entry.detail.get("failure") == failure_key for entry in entries)
