"""`timestamp_in_future`: more than 5 minutes ahead (Stripe docs, "Record usage with the API").

Alone: the number is milli-, micro- or nanoseconds whose seconds Stripe takes. By rule: a clock that runs ahead by
`shift_seconds`. Otherwise the record waits until Stripe takes it, if that is within `horizon_hours` (default 24).
"""

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records import timestamps
from workers.records.schema import MAX_AHEAD, TIMESTAMP
from workers.remedies.remedy import Remedy, RepairContext, offer, sentence


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Put the seconds that the number means."""
    seconds = timestamps.epoch_seconds(pl.col(TIMESTAMP))
    ahead, shift = seconds > context.window.newest, context.rules.timestamps.shift_seconds
    shifted = pl.when(ahead & context.window.holds(seconds + shift)).then(seconds + shift)
    return offer(
        rows,
        TIMESTAMP,
        ("unit", timestamps.read(pl.col(TIMESTAMP), context.window).cast(pl.String)),
        ("shift_rule", shifted.cast(pl.String)),
    )


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Say what the number looks like, or how far ahead it lies."""
    shown = timestamps.rfc3339(timestamps.epoch_seconds(pl.col(TIMESTAMP)))
    ahead = pl.format("{} lies beyond the horizon (rule timestamps.horizon_hours)", shown)
    return sentence(rows, pl.coalesce(timestamps.doubt(pl.col(TIMESTAMP), context.window), ahead))


def defer(context: RepairContext) -> tuple[pl.Expr, pl.Expr]:
    """Let records wait whose time comes within the horizon."""
    valid_from = timestamps.epoch_seconds(pl.col(TIMESTAMP)) - int(MAX_AHEAD.total_seconds())
    now = context.window.newest - int(MAX_AHEAD.total_seconds())
    waits = valid_from <= now + context.rules.timestamps.horizon_hours * 3600
    return waits, timestamps.rfc3339(valid_from)


TIMESTAMP_IN_FUTURE = Remedy(
    "timestamp_in_future",
    "timestamp",
    CODE_REASONS["timestamp_in_future"],
    mend,
    advise,
    defer,
    shown_in=TIMESTAMP,
    cause_outside=True,
)
