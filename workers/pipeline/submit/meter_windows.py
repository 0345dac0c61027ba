"""The hours and days in which pre-aggregated meters keep one value of a customer.

Such meters keep the last event received in each hour or day (Stripe docs, "Record usage for billing").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import polars as pl

from workers.kernel.clock import from_epoch
from workers.pipeline.context import Context
from workers.pipeline.lookups import meters_of
from workers.records.catalog import CUSTOMER_ID, Catalog, Meter, folded, folded_text
from workers.records.quantities import bare_text
from workers.records.schema import EVENT_NAME, TIMESTAMP

WINDOW: Final = "@window"
"""The first epoch second of a record's hour or day."""
WINDOW_END: Final = "@window_end"
"""The first epoch second after it."""
SECONDS: Final = "@seconds"
EPOCH_SECONDS: Final = pl.col(TIMESTAMP).cast(pl.Int64)
KEYS: Final = [EVENT_NAME, CUSTOMER_ID, WINDOW]
"""What names one window: a meter keeps one value for each."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of an account's meters; falsy when no active meter has any."""

    catalog: Catalog

    def __bool__(self) -> bool:
        return bool(self.meters)

    @cached_property
    def meters(self) -> Mapping[str, Meter]:
        """The pre-aggregated meters by event name."""
        return {meter.event_name: meter for meter in self.catalog.windowed}

    def concern(self) -> pl.Expr:
        """Tell whether a record's meter is pre-aggregated, also where its name is spelt otherwise."""
        return self._meter().is_not_null()

    def _meter(self) -> pl.Expr:
        """Return the event name of a record's meter; null where it is none of these."""
        by_spelling = {folded_text(name): name for name in self.meters}
        name = pl.col(EVENT_NAME)
        other = folded(name).replace_strict(by_spelling, default=None, return_dtype=pl.String)
        return pl.when(name.is_in(list(self.meters))).then(name).otherwise(other)

    def keyed(self, records: pl.DataFrame, seconds: pl.Expr = EPOCH_SECONDS) -> pl.DataFrame:
        """Add `KEYS`, `WINDOW_END`, `SECONDS` and what the meter reads to records that concern it.

        `seconds` reads their time, where that is not yet as the engine writes it. A name or a customer with blanks
        around it, say, is refused today and mended tomorrow, so it names the same window.
        """
        lengths = {name: meter.window_seconds for name, meter in self.meters.items()}
        length = pl.col(EVENT_NAME).replace_strict(lengths, return_dtype=pl.Int64)
        named = self.catalog.resolve(records.with_columns(self._meter().alias(EVENT_NAME)))
        timed = named.with_columns(bare_text(pl.col(CUSTOMER_ID)).alias(CUSTOMER_ID), seconds.alias(SECONDS))
        begins = pl.col(SECONDS) - pl.col(SECONDS) % length
        return timed.with_columns(begins.alias(WINDOW), (begins + length).alias(WINDOW_END))

    def span(self, window: Mapping[str, Any]) -> tuple[datetime, datetime]:
        """Return when a window, given by its `KEYS`, begins and when it has ended."""
        begins = from_epoch(window[WINDOW])
        return begins, begins + timedelta(seconds=self.meters[window[EVENT_NAME]].window_seconds)


def windows_of(context: Context, account: str | None) -> Windows:
    """Return the windows of an account's meters as Stripe has them now."""
    return Windows(Catalog(meters=meters_of(context, account)))
