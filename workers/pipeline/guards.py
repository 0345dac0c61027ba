"""What no single record can tell: records that must not be sent again although they look repairable.

A record is closed to resubmission when Stripe has refused its last allowed revision, or when another case has
resubmitted the same usage: after Stripe has forgotten the identifier (24 hours) that would be billed twice.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from workers.kernel.clock import from_epoch
from workers.kernel.codes import Outcome
from workers.kernel.ledger.cases import Case
from workers.kernel.ledger.movements import RecordSetRef
from workers.pipeline.book import COUNTED_AS, ORIGIN, REVISION, scan
from workers.pipeline.context import Context
from workers.records.catalog import CUSTOMER_ID, Catalog, Meter
from workers.records.schema import (
    EVENT_NAME,
    FAULT,
    MAX_AGE,
    MESSAGE,
    OUTCOME,
    REASON,
    SUGGESTION,
    TIMESTAMP,
)

REFUSED_AGAIN: Final = "refused_again"
ALREADY_RESUBMITTED: Final = "already_resubmitted"
WOULD_OVERWRITE: Final = "would_overwrite"

MAX_WINDOWS: Final = 500
"""Windows of pre-aggregated meters that are asked for in one plan; further ones are put before a person."""

_CASE: Final = "@case"


def split_closed(context: Context, case: Case, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split pending records into those that are closed, as quarantined, and those that the engine may decide."""
    marked = frame.join(_resubmitted(context, case, frame), on=ORIGIN, how="left", maintain_order="left")
    exhausted = pl.col(REVISION) >= context.settings.max_attempts
    reason = pl.when(exhausted).then(pl.lit(REFUSED_AGAIN)).when(pl.col(_CASE).is_not_null()).then(
        pl.lit(ALREADY_RESUBMITTED)
    )  # fmt: skip
    advice = (
        pl.when(exhausted)
        .then(
            pl.format("Stripe refused revision {} too: {}", REVISION, pl.col(MESSAGE).fill_null("no reason given"))
        )
        .when(pl.col(_CASE).is_not_null())
        .then(pl.format("{} has resubmitted the same identifier: compare before sending it again.", _CASE))
    )
    judged = marked.with_columns(reason.alias(REASON), advice.alias(SUGGESTION)).drop(_CASE)
    closed = judged.filter(pl.col(REASON).is_not_null()).with_columns(
        pl.lit(Outcome.QUARANTINED.value).alias(OUTCOME), pl.col(COUNTED_AS).alias(FAULT)
    )
    return closed, judged.filter(pl.col(REASON).is_null()).drop(REASON, SUGGESTION)


def _resubmitted(context: Context, case: Case, frame: pl.DataFrame) -> pl.DataFrame:
    """Return (origin, case) of those records that another case has submitted while they could still be billed."""
    since = context.clock() - MAX_AGE - timedelta(days=1)
    others = [s for s in context.ledger.submissions.since(since) if s.case_id != case.id]
    found = pl.DataFrame(schema={ORIGIN: pl.String, _CASE: pl.String})
    if not others:
        return found
    origins = frame.select(pl.col(ORIGIN).drop_nulls().unique()).lazy()
    hits = [
        scan(context, RecordSetRef(other.record_set, other.record_set_sha256))
        .select(ORIGIN)
        .join(origins, on=ORIGIN, how="semi")
        .with_columns(pl.lit(other.case_id).alias(_CASE))
        for other in others
    ]
    return pl.concat([found, *pl.collect_all(hits)]).unique(ORIGIN, keep="first", maintain_order=True)


def without_overwrites(
    context: Context, account: str | None, catalog: Catalog, planned: pl.DataFrame
) -> pl.DataFrame:
    """Quarantine repaired records of pre-aggregated meters where Stripe already holds a value for the window.

    Such meters keep the last event received (Stripe docs, "Record usage for billing"), so sending an older one
    would overwrite good usage.
    """
    meters = {m.event_name: m for m in catalog.active if m.event_time_window is not None}
    if not meters:
        return planned
    windows = _windows(planned, catalog, meters)
    taken = [not _is_free(context, account, meters, row) for row in windows.iter_rows(named=True)]
    blocked = windows.filter(pl.Series(taken, dtype=pl.Boolean)).select(_KEYS) if taken else windows.select(_KEYS)
    return _quarantine_windows(planned, catalog, meters, blocked)


_WINDOW: Final = "@window"
_KEYS: Final = [EVENT_NAME, CUSTOMER_ID, _WINDOW]
_SECONDS: Final = {"hour": 3600, "day": 86_400}


def _keyed(planned: pl.DataFrame, catalog: Catalog, meters: dict[str, Meter]) -> pl.DataFrame:
    """Add each record's customer and the start of its window in epoch seconds (null where it has none)."""
    lengths = pl.DataFrame(
        {EVENT_NAME: list(meters), "@length": [_SECONDS[str(m.event_time_window)] for m in meters.values()]},
        schema={EVENT_NAME: pl.String, "@length": pl.Int64},
    )
    resolved = catalog.resolve(planned).join(lengths, on=EVENT_NAME, how="left", maintain_order="left")
    seconds = pl.col(TIMESTAMP).cast(pl.Int64, strict=False)
    sent = pl.col(OUTCOME) == Outcome.REPAIRED
    window = pl.when(sent).then(seconds - seconds % pl.col("@length"))
    return resolved.with_columns(window.alias(_WINDOW))


def _windows(planned: pl.DataFrame, catalog: Catalog, meters: dict[str, Meter]) -> pl.DataFrame:
    keyed = _keyed(planned, catalog, meters).filter(pl.col(_WINDOW).is_not_null())
    return keyed.group_by(_KEYS, maintain_order=True).agg(pl.len().alias("records"), pl.col("@length").first())


def _is_free(context: Context, account: str | None, meters: dict[str, Meter], row: dict[str, object]) -> bool:
    """Whether the one record of a window can be sent: nothing of the customer is counted in it yet."""
    if row["records"] != 1:
        return False
    start, length = int(str(row[_WINDOW])), int(str(row["@length"]))
    meter = meters[str(row[EVENT_NAME])]
    summaries = context.stripe.event_summaries(
        meter.id, str(row[CUSTOMER_ID]), from_epoch(start), from_epoch(start + length), account
    )
    return not any(summary.value for summary in summaries)


def _quarantine_windows(
    planned: pl.DataFrame, catalog: Catalog, meters: dict[str, Meter], blocked: pl.DataFrame
) -> pl.DataFrame:
    marks = blocked.with_columns(pl.lit(value=True).alias("@blocked"))
    keyed = _keyed(planned, catalog, meters).join(marks, on=_KEYS, how="left", maintain_order="left")
    stop = keyed["@blocked"].fill_null(value=False)
    advice = "The meter keeps one value per window and one is there already: decide which of them is right."
    return planned.with_columns(
        pl.when(stop).then(pl.lit(Outcome.QUARANTINED.value)).otherwise(OUTCOME).alias(OUTCOME),
        pl.when(stop).then(pl.lit(WOULD_OVERWRITE)).otherwise(REASON).alias(REASON),
        pl.when(stop).then(pl.lit(advice)).otherwise(SUGGESTION).alias(SUGGESTION),
    )
