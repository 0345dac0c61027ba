"""What no single record can tell: records that must not be sent again although they look repairable.

A record is closed to resubmission when Stripe has refused its last allowed revision, or when another case has
resubmitted the same usage: after Stripe has forgotten the identifier (24 hours) that would be billed twice.
"""

from pathlib import Path
from typing import Any, Final

import polars as pl

from workers.kernel.clock import from_epoch
from workers.kernel.codes import Outcome
from workers.kernel.ledger.cases import Case
from workers.pipeline.book import COUNTED_AS, ORIGIN, RECORD, REVISION
from workers.pipeline.carried import CASE, carried, recent_submissions
from workers.pipeline.context import Context
from workers.records.catalog import CUSTOMER_ID, Catalog, Meter
from workers.records.schema import (
    EVENT_NAME,
    FAULT,
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


def split_closed(context: Context, case: Case, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split pending records into those that are closed, as quarantined, and those that the engine may decide."""
    marked = frame.join(_resubmitted(context, case, frame), on=ORIGIN, how="left", maintain_order="left")
    exhausted = pl.col(REVISION) >= context.settings.max_attempts
    reason = pl.when(exhausted).then(pl.lit(REFUSED_AGAIN)).when(pl.col(CASE).is_not_null()).then(
        pl.lit(ALREADY_RESUBMITTED)
    )  # fmt: skip
    advice = (
        pl.when(exhausted)
        .then(
            pl.format("Stripe refused revision {} too: {}", REVISION, pl.col(MESSAGE).fill_null("no reason given"))
        )
        .when(pl.col(CASE).is_not_null())
        .then(pl.format("{} has resubmitted the same identifier: compare before sending it again.", CASE))
    )
    judged = marked.with_columns(reason.alias(REASON), advice.alias(SUGGESTION)).drop(CASE)
    closed = judged.filter(pl.col(REASON).is_not_null()).with_columns(
        pl.lit(Outcome.QUARANTINED.value).alias(OUTCOME), pl.col(COUNTED_AS).alias(FAULT)
    )
    return closed, judged.filter(pl.col(REASON).is_null()).drop(REASON, SUGGESTION)


def _resubmitted(context: Context, case: Case, frame: pl.DataFrame) -> pl.DataFrame:
    """Return (origin, case) of those records that another case has submitted while they could still be billed."""
    others = [s for s in recent_submissions(context, case.failure.account) if s.case_id != case.id]
    return carried(context, others, ORIGIN, frame[ORIGIN]).select(ORIGIN, CASE).unique(ORIGIN, keep="first")


def without_overwrites(context: Context, account: str | None, decided: pl.LazyFrame, folder: Path) -> pl.LazyFrame:
    """Quarantine repaired records of pre-aggregated meters where Stripe already holds a value for the window.

    Such meters keep the last event received (Stripe docs, "Record usage for billing"), so sending an older one
    would overwrite good usage. Records of other meters are passed on without being read.
    """
    meters = tuple(Meter.from_stripe(meter) for meter in context.stripe.list_meters(account))
    catalog = Catalog(meters=meters)
    windowed = {meter.event_name: meter for meter in catalog.active if meter.event_time_window in _SECONDS}
    concerned = pl.col(EVENT_NAME).is_in(list(windowed)) & (pl.col(OUTCOME) == Outcome.REPAIRED)
    planned = decided.filter(concerned).collect() if windowed else None
    if planned is None or planned.is_empty():
        return decided
    path = folder / "windowed.parquet"
    _hold_back(context, account, catalog, windowed, planned).write_parquet(path)
    others = decided.filter(~concerned.fill_null(value=False))
    return pl.concat([others, pl.scan_parquet(path)], how="diagonal").sort(RECORD)


_WINDOW: Final = "@window"
_LENGTH: Final = "@length"
_KEYS: Final = [EVENT_NAME, CUSTOMER_ID, _WINDOW]
_SECONDS: Final = {"hour": 3600, "day": 86_400}
_ADVICE: Final = "The meter keeps one value per window, and another is there or on its way: decide which is right."


def _hold_back(
    context: Context, account: str | None, catalog: Catalog, windowed: dict[str, Meter], planned: pl.DataFrame
) -> pl.DataFrame:
    """Quarantine what cannot be sent without overwriting, or without knowing; the rest stays as planned."""
    lengths = {name: _SECONDS[str(meter.event_time_window)] for name, meter in windowed.items()}
    table = pl.DataFrame({EVENT_NAME: list(lengths), _LENGTH: list(lengths.values())})
    seconds = pl.col(TIMESTAMP).cast(pl.Int64)
    keyed = (
        catalog.resolve(planned)
        .join(table, on=EVENT_NAME, how="left", maintain_order="left")
        .with_columns((seconds - seconds % pl.col(_LENGTH)).alias(_WINDOW))
    )
    windows = keyed.group_by(_KEYS, maintain_order=True).agg(pl.len().alias("records"), pl.col(_LENGTH).first())
    asked = [
        number < MAX_WINDOWS and _is_free(context, account, windowed, row)
        for number, row in enumerate(windows.iter_rows(named=True))
    ]
    free = windows.select(_KEYS).with_columns(pl.Series("@free", asked))
    stop = ~keyed.select(_KEYS).join(free, on=_KEYS, how="left", maintain_order="left")["@free"]
    return planned.with_columns(
        pl.when(stop).then(pl.lit(Outcome.QUARANTINED.value)).otherwise(OUTCOME).alias(OUTCOME),
        pl.when(stop).then(pl.lit(WOULD_OVERWRITE)).otherwise(REASON).alias(REASON),
        pl.when(stop).then(pl.lit(_ADVICE)).otherwise(SUGGESTION).alias(SUGGESTION),
    )


def _is_free(context: Context, account: str | None, meters: dict[str, Meter], row: dict[str, Any]) -> bool:
    """Whether the one record of a window can be sent: nothing of the customer is counted in it yet."""
    if row["records"] != 1:
        return False
    start, end = from_epoch(row[_WINDOW]), from_epoch(row[_WINDOW] + row[_LENGTH])
    meter = meters[row[EVENT_NAME]]
    summaries = context.stripe.event_summaries(meter.id, row[CUSTOMER_ID], start, end, account)
    return not any(summary.value for summary in summaries)
