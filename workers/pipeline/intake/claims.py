"""Which rows of the sender's files a validation report can mean.

An identifier alone proves nothing: Stripe promises its uniqueness for 24 hours only (stripe-python,
`billing.MeterEvent`, `identifier`), senders count anew every day, and one may stand on rows of several meters. A
row that was accepted and is taken for the refused one is billed twice, and the refused one never. So a row may be
claimed only where nothing speaks against it: it is of the event name that the report speaks of, its file can have
been validated in the report's window, and the fault that Stripe names can be seen in it, or could be seen then.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from workers.kernel.codes import Code
from workers.records import timestamps
from workers.records.catalog import Catalog
from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP, WRITTEN
from workers.records.timestamps import Window
from workers.records.validation import Standard, fault_column

WHY_NOT: Final = "@why_not"
"""Why a row cannot be the refused record; null where it may be."""
MEANT: Final = "@meant"
"""The event name that the report speaks of."""


@dataclass(frozen=True)
class Claim:
    """What a report says of one code's sampled records.

    `meant` has each sampled identifier with the event name that the report speaks of (`MEANT`), null where it does
    not say. They were validated from `start` to `end`, at most `delay` after their file was last written. `catalog`
    holds the meter where it is known.
    """

    code: str
    meant: pl.DataFrame
    start: datetime
    end: datetime
    delay: timedelta
    catalog: Catalog

    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add `WHY_NOT` to rows of the sources that carry a sampled identifier."""
        standard = Standard(self.catalog, Window(self.start))
        judged = standard.judge(rows).join(self.meant, on=IDENTIFIER, how="left", maintain_order="left")
        return rows.with_columns(judged.select(self._why_not().alias(WHY_NOT)).to_series())

    def older(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of files that are too old to have been validated then: they may have been billed."""
        return rows.filter(pl.col(WRITTEN) < self.start - self.delay)

    def _why_not(self) -> pl.Expr:
        written = timestamps.rfc3339(pl.col(WRITTEN).dt.epoch("s"))
        return pl.coalesce(
            pl.when(pl.col(MEANT).is_null()).then(pl.lit("the report does not say of which event name it is")),
            pl.when(pl.col(EVENT_NAME).ne_missing(pl.col(MEANT))).then(
                pl.format("the report is of {}", MEANT)),
            pl.when(pl.col(WRITTEN).is_null()).then(pl.lit("nothing tells when its file was written")),
            pl.when(pl.col(WRITTEN) > self.end).then(
                pl.format("its file was written at {}, after Stripe had validated", written)),
            pl.when(pl.col(WRITTEN) < self.start - self.delay).then(
                pl.format("its file was last written at {}, long before Stripe validated", written)),
            pl.when(~self._may_show()).then(pl.lit(f"it shows no {self.code}")),
        )  # fmt: skip

    def _may_show(self) -> pl.Expr:
        """Tell whether the fault can be seen in a judged row, or could be seen when Stripe validated it.

        Customers and meters may have been mended since, and what a code means that nobody knows cannot be seen at
        all: neither speaks against a row.
        """
        customer, value = pl.col(fault_column("customer")), pl.col(fault_column("value"))
        shown = {
            Code.NO_CUSTOMER_DEFINED: customer.eq_missing(pl.lit(Code.NO_CUSTOMER_DEFINED.value)),
            Code.CUSTOMER_NOT_FOUND: customer.ne_missing(pl.lit(Code.NO_CUSTOMER_DEFINED.value)),
            Code.VALUE_NOT_FOUND: value.is_not_null(),
            Code.INVALID_VALUE: value.is_not_null(),
            Code.VALUE_TOO_MANY_DIGITS: value.is_not_null(),
            Code.TIMESTAMP_TOO_FAR_IN_PAST: self._time() < Window(self.end).oldest,
            Code.TIMESTAMP_IN_FUTURE: self._time() > Window(self.start).newest,
            Code.MISSING_DIMENSION_PAYLOAD_KEYS: self._may_lack_dimensions(),
        }
        return shown.get(self.code, pl.lit(value=True)).fill_null(value=True)  # type: ignore[call-overload, no-any-return]

    def _time(self) -> pl.Expr:
        """Return the row's epoch seconds; null where its text has no one reading, so that it may mean any."""
        text = pl.col(TIMESTAMP)
        return pl.coalesce(timestamps.epoch_seconds(text), timestamps.read(text, Window(self.start)))

    def _may_lack_dimensions(self) -> pl.Expr:
        if not self.catalog.with_dimensions:
            return pl.lit(value=True)
        return pl.col(fault_column("dimension")).is_not_null()
