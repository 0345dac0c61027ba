"""Records that are claimed to be refused, as the repaired ones would count: whose usage, on which day, how much."""

from datetime import datetime
from typing import Final

import polars as pl

from workers.pipeline.context import Context
from workers.pipeline.lookups import Catalogs
from workers.pipeline.totals.sender_totals import AMOUNT, AMOUNT_TYPE, CONTENT, DAY, PAIR, settled_by
from workers.records import timestamps
from workers.records.catalog import CUSTOMER_ID, Catalog, Meter
from workers.records.identifiers import content
from workers.records.quantities import is_blank
from workers.records.schema import (
    CHANGES,
    EVENT_NAME,
    IDENTIFIER,
    PLAN_COLUMNS,
    QUANTITY,
    ROW,
    SOURCE,
    TIMESTAMP,
    WRITTEN,
    with_columns_of,
)
from workers.remedies import repair_frame

AT: Final = "@at"
"""Where a record stands among the claimed ones, from 0."""
WHY_UNCLEAR: Final = "@why_unclear"
"""Why Stripe's totals say nothing of a record, for a person; null where they do."""

_CALLED: Final = "@called"
_MOVED_BY_RULE: Final = r"\.(clamp|redate)_rule\""
_UNREADABLE: Final = "its customer, its time or its quantity cannot be read in one way only"
_OTHER_METER: Final = "it is not of this meter, or was of another"
_MOVED: Final = "a rule has moved it to another time"
TOO_NEW: Final = "Stripe validated it so recently that its totals may lack it"
"""The one reason that passes by itself."""


def read_claimed(
    context: Context, account: str | None, meter: Meter, claimed: pl.DataFrame, validated_by: datetime | None
) -> pl.DataFrame:
    """Return `AT`, `PAIR`, `AMOUNT`, `WHY_UNCLEAR`, and by what rows tell the same record. Raises Transient.

    Stripe had validated them by `validated_by`; where that is null, as their file was written.
    """
    known = with_columns_of(claimed, [SOURCE, ROW, WRITTEN])
    catalog = Catalogs(context, account, context.rules_in_force).for_records(known)
    bare = known.drop(PLAN_COLUMNS, strict=False)
    repaired = repair_frame(
        bare, catalog=catalog, rules=context.rules_in_force, now=context.clock(), resubmit_valid=False
    )
    amount = pl.lit("1") if meter.formula == "count" else pl.col(QUANTITY)
    read = catalog.resolve(repaired).select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(AT),
        EVENT_NAME,
        CUSTOMER_ID,
        pl.from_epoch(timestamps.epoch_seconds(pl.col(TIMESTAMP))).dt.date().alias(DAY),
        amount.cast(AMOUNT_TYPE, strict=False).alias(AMOUNT),
        CHANGES,
    )
    as_written = known.select(
        pl.col(EVENT_NAME).alias(_CALLED),
        IDENTIFIER,
        content(claimed.columns).hash().alias(CONTENT),
        SOURCE,
        pl.col(ROW).cast(pl.Int64),
        pl.lit(validated_by).alias(WRITTEN) if validated_by else WRITTEN,
    )
    told = _why_unclear(context, meter, catalog).alias(WHY_UNCLEAR)
    return read.hstack(as_written).with_columns(told).drop(_CALLED, EVENT_NAME, CHANGES, WRITTEN)


def _why_unclear(context: Context, meter: Meter, catalog: Catalog) -> pl.Expr:
    others = [name for name in catalog.by_event_name if name != meter.event_name]
    other = pl.col(EVENT_NAME).ne_missing(pl.lit(meter.event_name)) | pl.col(_CALLED).is_in(others)
    unread = pl.any_horizontal(is_blank(pl.col(CUSTOMER_ID)), pl.col(DAY).is_null(), pl.col(AMOUNT).is_null())
    settled = (pl.col(WRITTEN).cast(pl.Datetime("us", "UTC")) <= settled_by(context)).fill_null(value=False)
    return pl.coalesce(
        pl.when(other).then(pl.lit(_OTHER_METER)),
        pl.when(unread).then(pl.lit(_UNREADABLE)),
        pl.when(pl.col(CHANGES).str.contains(_MOVED_BY_RULE)).then(pl.lit(_MOVED)),
        pl.when(~settled).then(pl.lit(TOO_NEW)),
    )


def pairs_of(read: pl.DataFrame) -> pl.DataFrame:
    """Return the customers and days of which Stripe is to be asked."""
    return read.filter(pl.col(WHY_UNCLEAR).is_null()).select(PAIR).unique(maintain_order=True)
