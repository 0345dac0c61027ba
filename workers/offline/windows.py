"""Windows of pre-aggregated meters: the hours or days in which the last value received counts alone.

Such meters keep the last event received in each hour or day (Stripe docs, "Record usage for billing"). Where one
value of a window waits for a person, the others wait with it: any that went out alone would become the window's
value, and stay it if the one that waits never goes, or be overwritten by an older one that goes later.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.reasons import IDENTIFIER_REPEATED, TOLD_TWICE, WOULD_OVERWRITE
from workers.records.catalog import Catalog, Meter, is_among, text_hash
from workers.records.schema import EVENT_NAME, OUTCOME, REASON, REQUIRED_COLUMNS, ROW, TIMESTAMP, with_columns_of
from workers.records.timestamps import epoch_seconds
from workers.remedies.outcome import quarantined

ADVICE: Final = (
    "another value of its window waits, and the meter keeps the last one only: mend that one, then repair both"
)

WINDOW: Final = "@window"


@dataclass(frozen=True)
class MeterWindows:
    """The windows of a catalog's active meters; falsy where none has any."""

    catalog: Catalog

    def __bool__(self) -> bool:
        return bool(self.catalog.windowed)

    @property
    def columns(self) -> list[str]:
        """The columns that `key` and `key_without_time` read; none without windows."""
        return [*REQUIRED_COLUMNS, *(meter.customer_column for meter in self.catalog.windowed)] if self else []

    def may_concern(self) -> pl.Expr:
        """Tell whether a record can be one of these meters, now or after its event name was mended."""
        others = [meter.event_name for meter in self.catalog.active if not meter.window_seconds]
        return ~pl.col(EVENT_NAME).is_in(others).fill_null(value=False)

    def key(self) -> pl.Expr:
        """Return what names a record's window, as text; null where its time or customer cannot be read."""
        seconds = epoch_seconds(pl.col(TIMESTAMP))
        return pl.coalesce(*(self._of(one, seconds.floordiv(one.window_seconds)) for one in self.catalog.windowed))

    def key_without_time(self) -> pl.Expr:
        """Return what names all windows of a record's customer on its meter, as text."""
        return pl.coalesce(*(self._of(meter, pl.lit("")) for meter in self.catalog.windowed))

    def _of(self, meter: Meter, start: pl.Expr) -> pl.Expr:
        key = pl.concat_str(EVENT_NAME, start, meter.customer_column, separator="\n")
        return pl.when(pl.col(EVENT_NAME) == meter.event_name).then(key)


@dataclass(frozen=True, eq=False)
class WaitingWindows:
    """The windows in which a value waits, by the hashes of their keys, 8 bytes for each; falsy where there is none.

    Two keys that share a hash, once in some 10^12 records, put before a person what could have gone.
    """

    windows: MeterWindows
    hashes: pl.Series

    def __bool__(self) -> bool:
        return not self.hashes.is_empty()

    def holds(self) -> pl.Expr:
        """Tell whether another value waits in a record's window, or one of its customer at no readable time."""
        return is_among(self.windows.key(), self.hashes) | is_among(self.windows.key_without_time(), self.hashes)


NONE_WAITING: Final = WaitingWindows(MeterWindows(Catalog()), pl.Series(dtype=pl.UInt64))


def with_window(decided: pl.DataFrame, windows: MeterWindows) -> pl.DataFrame:
    """Add `WINDOW` to treated records: the hash of their window, or of all windows of their customer."""
    keyed = with_columns_of(decided, windows.columns)
    return keyed.with_columns(text_hash(pl.coalesce(windows.key(), windows.key_without_time())).alias(WINDOW))


def waiting_in(decided: pl.DataFrame, differing: pl.Series) -> pl.Series:
    """Return the `WINDOW` of each record that waits. One that is told twice is no second value of its window.

    `differing` are the rows that repeat an identifier with other content.
    """
    waits = pl.col(OUTCOME).is_in([Outcome.DEFERRED, Outcome.QUARANTINED])
    again = (pl.col(REASON) == IDENTIFIER_REPEATED) & ~pl.col(ROW).is_in(differing.implode())
    told_twice = again | (pl.col(REASON) == TOLD_TWICE)
    return decided.filter(waits & ~told_twice)[WINDOW].drop_nulls().unique()


def hold_windows(decided: pl.DataFrame, waiting: WaitingWindows) -> pl.DataFrame:
    """Put what is to be sent into a window in which another value waits into quarantine."""
    if not waiting:
        return decided
    to_be_sent = pl.col(OUTCOME).is_in([Outcome.VALID, Outcome.REPAIRED])
    stopped = to_be_sent & waiting.holds().fill_null(value=False)
    return quarantined(decided, stopped, pl.lit(WOULD_OVERWRITE), pl.lit(ADVICE))
