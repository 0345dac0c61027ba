"""Refusals of our own submissions: they join the case that the records came from, and are counted there once.

Nothing has to be remembered for that: a record that was refused no longer stands in its submission, and what does
not stand there cannot be moved again, however often Stripe tells it.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import polars as pl

from workers.kernel.ledger.journal import Bucket, EntryKind, Movement
from workers.kernel.ledger.submissions import Submission
from workers.kernel.reasons import ARRIVAL_UNKNOWN, IDENTIFIER_TAKEN, PERHAPS_REFUSED
from workers.pipeline.context import Context
from workers.pipeline.record_sets import RECORD, REFUSED_AS, keep, movement, reasons_of, records_in
from workers.pipeline.submit.submitted_index import carried, may_have_carried
from workers.records.schema import CODE, EVENT_NAME, IDENTIFIER, MESSAGE, PLAN_COLUMNS, QUANTITY, REASON, SUGGESTION

REFUSAL_SCHEMA: Final = {IDENTIFIER: pl.String, CODE: pl.String, MESSAGE: pl.String}
"""What a refusal says of each record. Identifiers are those that we sent."""

REASON_SCHEMA: Final = {IDENTIFIER: pl.String, REASON: pl.String, SUGGESTION: pl.String}
"""Why records of unknown fate are put before a person."""

BILLED: Final = (Bucket.SUBMITTED, Bucket.CONFIRMED)
"""Where a record stands that counts at Stripe, or may: it was sent, and neither refused nor taken back since."""

_NOT_OURS: Final = (
    "Stripe already holds an event with this identifier that we did not send: compare before billing it."
)
_OURS: Final = (
    "Stripe already holds this identifier, and we have sent it before: it is probably billed, look there."
)
_TRIED: Final = (
    "A call of ours went unanswered and Stripe now holds its identifier: it is probably billed, its summaries tell."
)


def billed_by_bucket(context: Context, submission: Submission) -> Iterator[tuple[Bucket, pl.LazyFrame]]:
    """Yield the records of a submission that count at Stripe or may, by the bucket that they stand in."""
    journal = context.ledger.queries.entries(submission.case_id)
    for bucket in BILLED:
        records = records_in(context, journal, bucket, submission_id=submission.id)
        if records is not None:
            yield bucket, records


def billed_records(context: Context, submission: Submission) -> pl.LazyFrame | None:
    """Return the records of a submission that count at Stripe or may; None when there are none."""
    frames = [records for _, records in billed_by_bucket(context, submission)]
    return pl.concat(frames, how="diagonal") if frames else None


def refuse(
    context: Context,
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
    stale = [name for name in (*PLAN_COLUMNS, CODE, MESSAGE) if name != QUANTITY]
    for bucket, named in _named_in(context, submission, refusals, stale):
        refused = named.with_columns(pl.lit(refused_as).alias(REFUSED_AS))
        moved = movement(
            context,
            EntryKind.REFUSED,
            (bucket, Bucket.PENDING),
            keep(context, submission.case_id, "refused", refused),
            submission=submission,
            event_id=event_id,
            detail={"failure": failure_key},
        )
        if moved.records:
            yield moved


def set_aside(
    context: Context, submission: Submission, reasons: pl.DataFrame, *, failure_key: str
) -> Iterator[Movement]:
    """Yield the movements that put records of unknown fate before a person, also those that counted as confirmed.

    `reasons` has the columns of REASON_SCHEMA.
    """
    for bucket, named in _named_in(context, submission, reasons, [REASON, SUGGESTION]):
        moved = movement(
            context,
            EntryKind.HELD,
            (bucket, Bucket.QUARANTINED),
            keep(context, submission.case_id, "held", named),
            submission=submission,
            detail={"failure": failure_key, "reasons": reasons_of(named)},
        )
        if moved.records:
            yield moved


def _named_in(
    context: Context, submission: Submission, told: pl.DataFrame, stale: Sequence[str]
) -> Iterator[tuple[Bucket, pl.LazyFrame]]:
    """Yield the records that are named, by bucket, with what is told of them instead of what is `stale`."""
    if told.is_empty():
        return
    for bucket, records in billed_by_bucket(context, submission):
        fresh = records.drop(stale, strict=False)
        yield bucket, fresh.join(told.unique(IDENTIFIER).lazy(), on=IDENTIFIER).sort(RECORD)


def set_aside_rest(
    context: Context,
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
    yield from set_aside(context, submission, reasons, failure_key=failure_key)


def held_reasons(
    context: Context,
    account: str | None,
    submission: Submission,
    identifiers: pl.Series,
    *,
    tried: Collection[str] = (),
) -> pl.DataFrame:
    """Return why records are held whose identifier Stripe holds already, as REASON_SCHEMA.

    It stands there once, and it is to be told whose it is. What another submission of ours carried under it is
    probably billed, and never sent under another one; only of what none carried it can be said that somebody else
    has used it. `tried` are those of which an earlier try of this very submission may have arrived.
    """
    if identifiers.is_empty():
        return pl.DataFrame(schema=REASON_SCHEMA)
    perhaps = may_have_carried(context, account, IDENTIFIER, identifiers)
    others = [one for one in perhaps if one.id != submission.id]
    ours = carried(context, others, IDENTIFIER, identifiers)[IDENTIFIER].unique()
    named = pl.col(IDENTIFIER)
    word = (
        pl.when(named.is_in(list(tried)))
        .then(pl.lit(_TRIED))
        .when(named.is_in(ours.implode()))
        .then(pl.lit(_OURS))
        .otherwise(pl.lit(_NOT_OURS))
    )
    held = identifiers.alias(IDENTIFIER).to_frame().with_columns(word.alias(SUGGESTION))
    taken = pl.col(SUGGESTION) == _NOT_OURS
    reason = pl.when(taken).then(pl.lit(IDENTIFIER_TAKEN)).otherwise(pl.lit(ARRIVAL_UNKNOWN))
    return held.with_columns(reason.alias(REASON)).select(list(REASON_SCHEMA))
