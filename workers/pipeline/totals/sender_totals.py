"""What a meter must have counted of the sender's own rows, by customer and UTC day.

A row that Stripe can never accept counts for nothing, whatever its time; one that it may have taken or turned away
counts with a doubt, and a total with a doubt in it proves nothing.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from workers.pipeline.context import Context
from workers.records import quantities, timestamps
from workers.records.catalog import CUSTOMER_ID, VALUE_TEXT, Catalog, Meter
from workers.records.identifiers import content, is_nameless
from workers.records.schema import (
    EVENT_NAME,
    IDENTIFIER,
    MAX_AHEAD,
    ROW,
    SOURCE,
    TIMESTAMP,
    WRITTEN,
    Records,
    dtype_of,
    empty_frame,
    with_columns_of,
)
from workers.records.validation import Standard, fault_column
from workers.remedies.engine import circumstances

DAY: Final = "@day"
"""The UTC day of a record's usage."""
PAIR: Final = [CUSTOMER_ID, DAY]
"""What Stripe tells one total for."""
SECONDS: Final = "@seconds"
CONTENT: Final = "@content"
"""The hash of all that Stripe bills a record by, but for its identifier."""
AMOUNT: Final = "@amount"
"""What a record adds to its meter's total."""
DOUBT: Final = "@doubt"
"""Why a record may count, or may not; null where it counts."""
AMOUNT_TYPE: Final = pl.Decimal(38, 14)
UNIQUE_FOR: Final = timedelta(hours=24)
"""How long Stripe takes an identifier once, at least (stripe-python, `billing.MeterEvent`, `identifier`)."""

_RANK: Final = "@rank"
_REFUSED: Final = "@refused"
_MOMENT: Final = "@moment"
_NEVER: Final = ("record", "customer", "dimension")
"""Aspects in which a fault means that Stripe has never accepted the record. Its meter may have been active once."""

_NEW: Final = "its file is so new that Stripe's totals may lack it"
_AHEAD: Final = "it lay ahead of time when its file was written"
_WITHOUT_VALUE: Final = "its value cannot be read, and whether a meter that counts minds is not known"
_TOO_FINE: Final = "its value has more than 14 decimal places"
_SAME_IDENTIFIER: Final = "another row has its identifier and says something else"


class Reader:
    """Reads records of one meter as Stripe would have read them."""

    def __init__(self, context: Context, meter: Meter) -> None:
        self.meter = meter
        self._now = context.clock()
        self.settled = settled_by(context)
        self._standard: Standard = circumstances(
            Catalog(meters=(meter,)), context.rules_in_force, self._now
        ).standard

    def read(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return those records of a canonical frame that Stripe may have accepted.

        With `IDENTIFIER`, `CONTENT`, `PAIR`, `SECONDS`, `AMOUNT`, `DOUBT`, and `WRITTEN`, `SOURCE` and `ROW` where
        known.
        """
        own = frame.filter(pl.col(EVENT_NAME) == self.meter.event_name)
        marked = own.with_columns(content(own.columns).hash().alias(CONTENT))
        complete = with_columns_of(marked, (*empty_frame().columns, WRITTEN))
        judged = self._standard.judge(
            complete.with_columns(pl.col(name).cast(dtype_of(name)) for name in (WRITTEN, ROW))
        )
        timed = judged.with_columns(timestamps.epoch_seconds(pl.col(TIMESTAMP)).alias(SECONDS))
        return timed.filter(self._may_be_accepted()).select(
            IDENTIFIER,
            CONTENT,
            CUSTOMER_ID,
            pl.from_epoch(SECONDS).dt.date().alias(DAY),
            SECONDS,
            self._amount().alias(AMOUNT),
            self._doubt().alias(DOUBT),
            WRITTEN,
            SOURCE,
            ROW,
        )

    def nothing(self) -> pl.DataFrame:
        """Return what `read` returns of no records."""
        return self.read(empty_frame())

    def _may_be_accepted(self) -> pl.Expr:
        sound = [pl.col(fault_column(aspect)).is_null() for aspect in _NEVER]
        value = pl.lit(value=True) if self.meter.formula == "count" else _has_value()
        latest = int((self._now + MAX_AHEAD).timestamp())
        return pl.all_horizontal(*sound, value, pl.col(SECONDS).is_between(0, latest)).fill_null(value=False)

    def _amount(self) -> pl.Expr:
        if self.meter.formula == "count":
            return pl.lit(1).cast(AMOUNT_TYPE)
        return quantities.strip_idle_zeros(pl.col(VALUE_TEXT)).cast(AMOUNT_TYPE)

    def _doubt(self) -> pl.Expr:
        written, counts = pl.col(WRITTEN), self.meter.formula == "count"
        ahead = pl.col(SECONDS) > written.dt.epoch("s") + int(MAX_AHEAD.total_seconds())
        fine = quantities.strip_idle_zeros(pl.col(VALUE_TEXT)).str.contains(r"\.[0-9]{15}")
        return pl.coalesce(
            pl.when(written > self.settled).then(pl.lit(_NEW)),
            pl.when(ahead).then(pl.lit(_AHEAD)),
            pl.when(~_has_value().fill_null(value=False)).then(pl.lit(_WITHOUT_VALUE)),
            pl.when(fine & pl.lit(not counts)).then(pl.lit(_TOO_FINE)),
        )


def settled_by(context: Context) -> datetime:
    """Return up to when what Stripe took in stands in its totals."""
    return context.clock() - timedelta(seconds=context.settings.totals_delay)


def _has_value() -> pl.Expr:
    """Tell whether Stripe reads a quantity, whatever notation the sender uses otherwise."""
    text = pl.col(VALUE_TEXT)
    return quantities.is_plain(text) & ~quantities.has_too_many_digits(text)


def once_each(read: pl.DataFrame) -> pl.DataFrame:
    """Return what was read with each record once, however often rows tell it.

    Rows of one identifier that say the same are one record. Where they differ, and were written or used within a
    day of each other, Stripe took one of them, and nobody knows which.
    """
    ordered = read.sort(WRITTEN, nulls_last=True, maintain_order=True)
    alone = is_nameless() | pl.col(IDENTIFIER).is_unique()
    return pl.concat([ordered.filter(alone), _told_once(ordered.filter(~alone))])


def _told_once(repeated: pl.DataFrame) -> pl.DataFrame:
    """Do what `once_each` does to rows whose identifier others have, the first written first."""
    known = pl.col(WRITTEN).is_not_null().all().over(IDENTIFIER)
    moment = pl.when(known).then(pl.col(WRITTEN).dt.epoch("s")).otherwise(SECONDS)
    once = repeated.unique([IDENTIFIER, CONTENT], keep="first", maintain_order=True)
    timed = once.with_columns(moment.alias(_MOMENT)).sort(_MOMENT, maintain_order=True)
    since = (pl.col(_MOMENT) - pl.col(_MOMENT).shift(1)).over(IDENTIFIER)
    until = (pl.col(_MOMENT).shift(-1) - pl.col(_MOMENT)).over(IDENTIFIER)
    near = (pl.min_horizontal(since, until) < int(UNIQUE_FOR.total_seconds())).fill_null(value=False)
    doubt = pl.when(near).then(pl.lit(_SAME_IDENTIFIER)).otherwise(DOUBT)
    return timed.with_columns(doubt.alias(DOUBT)).drop(_MOMENT)


def without(records: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Return the records of `once_each` but for those that Stripe is known to have refused.

    `refused` has `IDENTIFIER` and `CONTENT`. Of equal records without an identifier as many go as were refused.
    """
    named = records.filter(~is_nameless()).join(
        refused, on=[IDENTIFIER, CONTENT], how="anti", maintain_order="left"
    )
    nameless = records.filter(is_nameless()).with_columns(pl.int_range(pl.len()).over(CONTENT).alias(_RANK))
    counts = refused.filter(is_nameless()).group_by(CONTENT).agg(pl.len().cast(pl.Int64).alias(_REFUSED))
    counted = nameless.join(counts, on=CONTENT, how="left", maintain_order="left")
    left = counted.filter(pl.col(_RANK) >= pl.col(_REFUSED).fill_null(0)).drop(_RANK, _REFUSED)
    return pl.concat([named, left])


def by_pair(records: Records) -> Records:
    """Add records up: per customer and day `AMOUNT`, and `DOUBT` where one of them has any."""
    return records.group_by(PAIR).agg(pl.col(AMOUNT).sum(), pl.col(DOUBT).drop_nulls().first())
