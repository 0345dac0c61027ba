"""What Stripe must have refused of the sender's rows, and under which code: our diagnosis, as of the windows.

A row that breaks several rules is counted under one code. Stripe does not say which comes first; `ORDER` is ours to
assume, and the count shows where it is wrong.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.codes import Code
from workers.pipeline.fault_kinds import KIND, has_blanks_around, kind
from workers.records import timestamps
from workers.records.catalog import CUSTOMER_ID, Catalog, Meter
from workers.records.quick_check import SOUND, mark_sound
from workers.records.schema import EVENT_NAME, MAX_AGE, TIMESTAMP, WRITTEN
from workers.records.timestamps import Window
from workers.records.validation import Standard, fault_column

PREDICTED: Final = "@predicted"
"""The code under which Stripe must have refused a row."""
CERTAIN: Final = "@certain"
"""Whether Stripe can never have accepted the row since it was written, if we know Stripe's rules."""

ORDER: Final = ("meter", "timestamp", "customer", "value", "dimension")
_LASTING: Final = (
    Code.NO_METER, Code.NO_CUSTOMER_DEFINED, Code.VALUE_NOT_FOUND, Code.INVALID_VALUE, Code.VALUE_TOO_MANY_DIGITS,
)  # fmt: skip
"""Codes whose fault stands in the row itself, and stays there whatever changes at Stripe."""
TOLD: Final = (PREDICTED, KIND, CERTAIN)


@dataclass(frozen=True, eq=False)
class Prediction:
    """How rows are judged: by a meter, or by the names of all where the rows have none (`meter` is None).

    `start` is when the first window opens, `now` the present, in UTC. `customers` are the ids that existed when the
    last one closed; None where none were asked for. `archived`: the meter was archived then, as Stripe says.
    """

    meter: Meter | None
    meters: tuple[Meter, ...]
    start: datetime
    now: datetime
    customers: pl.Series | None = None
    archived: bool = False

    def refused(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return those rows that Stripe must have refused, with `PREDICTED`, `KIND` and `CERTAIN`."""
        if self.meter is None:
            return self._without_meter(rows)
        return self._of_meter(rows, self.meter)

    def customers_of(self, rows: pl.DataFrame) -> pl.Series:
        """Return the customers that the rows name, each once."""
        return self._catalog().resolve(rows)[CUSTOMER_ID].drop_nulls().unique()

    def _catalog(self) -> Catalog:
        """Return what is known, with the meter as it was then: no row is refused for it unless Stripe says so."""
        return Catalog(meters=self.meters, customers=self.customers)

    def _without_meter(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = [meter.event_name for meter in self.meters]
        unknown = rows.filter(~pl.col(EVENT_NAME).is_in(names) & (pl.col(EVENT_NAME).str.strip_chars() != ""))
        return self._told(rows, unknown, pl.lit(Code.NO_METER.value), pl.lit(value=True))

    def _of_meter(self, rows: pl.DataFrame, meter: Meter) -> pl.DataFrame:
        own = rows.filter(pl.col(EVENT_NAME) == meter.event_name)
        if self.archived:
            return self._told(rows, own, pl.lit(Code.ARCHIVED_METER.value), pl.lit(value=False))
        standard = Standard(self._catalog(), Window(self.start))
        doubtful = mark_sound(own.lazy(), standard).filter(~pl.col(SOUND)).select(rows.columns).collect()
        judged = standard.judge(doubtful)
        first = pl.coalesce(_counted(fault_column(aspect)) for aspect in ORDER)
        code = pl.when(_is_well_formed()).then(first)
        known = judged.with_columns(code.alias(PREDICTED)).filter(pl.col(PREDICTED).is_not_null())
        return self._told(rows, known, pl.col(PREDICTED), self._is_certain())

    def _told(self, rows: pl.DataFrame, refused: pl.DataFrame, code: pl.Expr, certain: pl.Expr) -> pl.DataFrame:
        """Return refused ones of the rows, in their columns, with `TOLD`."""
        catalog = self._catalog()
        told = code.alias(PREDICTED), kind(code, catalog), certain.alias(CERTAIN)
        return catalog.resolve(refused).with_columns(*told).select(*rows.columns, *TOLD)

    def _is_certain(self) -> pl.Expr:
        """Tell whether the fault cannot have been absent at any time since the row was written."""
        seconds, code = timestamps.epoch_seconds(pl.col(TIMESTAMP)), pl.col(PREDICTED)
        oldest = (pl.col(WRITTEN) - MAX_AGE).dt.epoch("s")
        return (
            code.is_in(list(_LASTING))
            | ((code == Code.CUSTOMER_NOT_FOUND) & has_blanks_around())
            | ((code == Code.TIMESTAMP_IN_FUTURE) & (seconds > Window(self.now).newest))
            | ((code == Code.TIMESTAMP_TOO_FAR_IN_PAST) & (seconds < oldest))
        ).fill_null(value=False)


def _counted(column: str) -> pl.Expr:
    """Return a fault under which Stripe counts; there are others that only a reader of the file sees."""
    return pl.when(pl.col(column).is_in(list(Code)) & (pl.col(column) != Code.ARCHIVED_METER)).then(pl.col(column))


def _is_well_formed() -> pl.Expr:
    """Tell whether Stripe has read the row at all: what it refuses for its form, it lists elsewhere, row by row."""
    form, time = pl.col(fault_column("record")), pl.col(fault_column("timestamp"))
    return form.is_null() & (time.is_null() | time.is_in(list(Code)))
