"""`timestamp_too_far_in_past`: older than 35 days (Stripe docs, "Record usage with the API").

Alone: only what a unit or a form explains. By rule, off by default, always shown as such: the record is billed at
the oldest time that Stripe still takes, with an hour to spare for the way there (`clamp_too_old`), or at a time
that the operator names (`redate_too_old_to`).
"""

from datetime import timedelta
from typing import Final

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records import timestamps
from workers.records.schema import MAX_AGE, TIMESTAMP
from workers.remedies.remedy import Remedy, RepairContext, offer, sentence

_SPARE: Final = timedelta(hours=1)


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Put the seconds that the text means, or the rule's time."""
    too_old = timestamps.epoch_seconds(pl.col(TIMESTAMP)) < context.window.oldest
    rules = context.rules.timestamps
    clamped = str(context.window.oldest + int(_SPARE.total_seconds())) if rules.clamp_too_old else None
    redated = str(int(rules.redate_too_old_to.timestamp())) if rules.redate_too_old_to else None
    return offer(
        rows,
        TIMESTAMP,
        ("unit", timestamps.read(pl.col(TIMESTAMP), context.window).cast(pl.String)),
        ("clamp_rule", pl.when(too_old).then(pl.lit(clamped, pl.String))),
        ("redate_rule", pl.when(too_old).then(pl.lit(redated, pl.String))),
    )


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Say what the number looks like, or when the record ceased to be billable at its own time."""
    seconds = timestamps.epoch_seconds(pl.col(TIMESTAMP))
    expired = timestamps.rfc3339(seconds + int(MAX_AGE.total_seconds()))
    late = pl.format("Stripe took it until {}; a rule may clamp or re-date it, or bill it otherwise", expired)
    return sentence(rows, pl.coalesce(timestamps.doubt(pl.col(TIMESTAMP), context.window), late))


TIMESTAMP_TOO_FAR_IN_PAST = Remedy(
    "timestamp_too_far_in_past",
    "timestamp",
    CODE_REASONS["timestamp_too_far_in_past"],
    mend,
    advise,
    shown_in=TIMESTAMP,
)
