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
CODES: Final = "@predicted_codes"
"""The codes of all its faults, the one under which Stripe must count it first."""
CERTAIN: Final = "@certain"
"""Whether Stripe can never have accepted the row since it was written, if we know Stripe's rules."""

ORDER: Final = ("meter", "timestamp", "customer", "value", "dimension")
_LASTING: Final = (
    Code.NO_METER, Code.NO_CUSTOMER_DEFINED, Code.VALUE_NOT_FOUND, Code.INVALID_VALUE, Code.VALUE_TOO_MANY_DIGITS,
)  # fmt: skip
"""Codes whose fault stands in the row itself, and stays there whatever changes at Stripe."""
TOLD: Final = (PREDICTED, CODES, KIND, CERTAIN)
BEFORE: Final = " before "
"""Stands between two codes where Stripe was seen to count a row of both under the first; kept among the kinds."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """How rows are judged: by a meter, or by the names of all where the rows have none (`meter` is None).

    `start` is when the first window opens, `now` the present, in UTC. `customers` are the ids that existed when the
    last one closed, `strangers` those that name nobody and never did; None where none were asked for. `archived`:
    the meter was archived then, as Stripe says. `order` has pairs of codes of which the one is counted before the
    other, whatever `ORDER` says.
    """

    meter: Meter | None
    meters: tuple[Meter, ...]
    start: datetime
    now: datetime
    customers: pl.Series | None = None
    archived: bool = False
    strangers: pl.Series | None = None
    order: tuple[tuple[str, str], ...] = ()

    def refused(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return those rows that Stripe must have refused, with `PREDICTED`, `KIND` and `CERTAIN`."""
        if self.meter is None:
            return self._without_meter(rows)
        return self._of_meter(rows, self.meter)

    def customers_of(self, rows: pl.DataFrame) -> pl.Series:
        """Return the customers that the rows name, each once."""
        return self.catalog.resolve(rows)[CUSTOMER_ID].drop_nulls().unique()

    @property
    def standard(self) -> Standard:
        """What a meter's rows are judged by, as of the windows."""
        return Standard(self.catalog, Window(self.start))

    @property
    def catalog(self) -> Catalog:
        """What is known, with the meter as it was then: no row is refused for it unless Stripe says so."""
        return Catalog(meters=self.meters, customers=self.customers)

    def _without_meter(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = [meter.event_name for meter in self.meters]
        unknown = rows.filter(~pl.col(EVENT_NAME).is_in(names) & (pl.col(EVENT_NAME).str.strip_chars() != ""))
        return self._told(rows, unknown.with_columns(_only(Code.NO_METER)), pl.lit(value=True))

    def _of_meter(self, rows: pl.DataFrame, meter: Meter) -> pl.DataFrame:
        own = rows.filter(pl.col(EVENT_NAME) == meter.event_name)
        if self.archived:
            return self._told(rows, own.with_columns(_only(Code.ARCHIVED_METER)), pl.lit(value=False))
        standard = self.standard
        doubtful = mark_sound(own.lazy(), standard).filter(~pl.col(SOUND)).select(rows.columns).collect()
        judged = standard.judge(doubtful)
        codes = pl.concat_list(_counted(fault_column(aspect)) for aspect in ORDER).list.drop_nulls()
        known = judged.with_columns(codes.alias(CODES)).filter(_is_well_formed() & (pl.col(CODES).list.len() > 0))
        return self._told(rows, known, self._is_certain())

    def _told(self, rows: pl.DataFrame, refused: pl.DataFrame, certain: pl.Expr) -> pl.DataFrame:
        """Return refused ones of the rows, which have `CODES`, in their columns, with `TOLD`."""
        catalog = self.catalog
        told = catalog.resolve(refused).with_columns(self._first().alias(PREDICTED))
        told = told.with_columns(kind(pl.col(PREDICTED), catalog), certain.alias(CERTAIN))
        return told.select(*rows.columns, *TOLD)

    def _first(self) -> pl.Expr:
        first = pl.col(CODES).list.first()
        for earlier, later in self.order:
            is_both = (first == later) & pl.col(CODES).list.contains(earlier)
            first = pl.when(is_both).then(pl.lit(earlier)).otherwise(first)
        return first

    def _is_certain(self) -> pl.Expr:
        """Tell whether the fault cannot have been absent at any time since the row was written."""
        seconds, code = timestamps.epoch_seconds(pl.col(TIMESTAMP)), pl.col(PREDICTED)
        oldest = (pl.col(WRITTEN) - MAX_AGE).dt.epoch("s")
        return (
            code.is_in(list(_LASTING))
            | ((code == Code.CUSTOMER_NOT_FOUND) & (has_blanks_around() | self._is_stranger()))
            | ((code == Code.TIMESTAMP_IN_FUTURE) & (seconds > Window(self.now).newest))
            | ((code == Code.TIMESTAMP_TOO_FAR_IN_PAST) & (seconds < oldest))
        ).fill_null(value=False)

    def _is_stranger(self) -> pl.Expr:
        strangers = pl.Series(dtype=pl.String) if self.strangers is None else self.strangers
        return pl.col(CUSTOMER_ID).is_in(strangers.implode())


def _only(code: Code) -> pl.Expr:
    return pl.concat_list(pl.lit(code.value)).alias(CODES)


def _counted(column: str) -> pl.Expr:
    """Return a fault under which Stripe counts; there are others that only a reader of the file sees."""
    return pl.when(pl.col(column).is_in(list(Code)) & (pl.col(column) != Code.ARCHIVED_METER)).then(pl.col(column))


def _is_well_formed() -> pl.Expr:
    """Tell whether Stripe has read the row at all: what it refuses for its form, it lists elsewhere, row by row."""
    form, time = pl.col(fault_column("record")), pl.col(fault_column("timestamp"))
    return form.is_null() & (time.is_null() | time.is_in(list(Code)))
