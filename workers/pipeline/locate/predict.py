"""What Stripe must have refused of the sender's rows, and under which code: our diagnosis, as of the windows.

A row that breaks several rules is counted under one code. Stripe does not say which comes first; `ORDER` is ours to
assume, and the count shows where it is wrong.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.codes import Code
from workers.records import timestamps
from workers.records.catalog import CUSTOMER_ID, VALUE_TEXT, Catalog, Meter, folded, folded_text
from workers.records.quick_check import SOUND, mark_sound
from workers.records.schema import EVENT_NAME, MAX_AGE, TIMESTAMP, WRITTEN
from workers.records.timestamps import Window
from workers.records.validation import Standard, fault_column

PREDICTED: Final = "@predicted"
"""The code under which Stripe must have refused a row."""
KIND: Final = "@kind"
"""In what way a row is at fault, finer than its code: `locate.kinds` keeps which Stripe has been seen to refuse."""
CERTAIN: Final = "@certain"
"""Whether Stripe can never have accepted the row since it was written, if we know Stripe's rules."""

ORDER: Final = ("meter", "timestamp", "customer", "value", "dimension")
_LASTING: Final = (
    Code.NO_METER, Code.NO_CUSTOMER_DEFINED, Code.VALUE_NOT_FOUND, Code.INVALID_VALUE, Code.VALUE_TOO_MANY_DIGITS,
)  # fmt: skip
"""Codes whose fault stands in the row itself, and stays there whatever changes at Stripe."""
_LONGEST_SHAPE: Final = 24


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
        alike = [folded_text(name) for name in names]
        unknown = rows.filter(~pl.col(EVENT_NAME).is_in(names) & (pl.col(EVENT_NAME).str.strip_chars() != ""))
        another = folded(pl.col(EVENT_NAME)).is_in(alike)
        shape = pl.when(another).then(pl.lit("another spelling")).otherwise(pl.lit("unknown name"))
        return unknown.with_columns(*_told(pl.lit(Code.NO_METER.value), shape, pl.lit(value=True)))

    def _of_meter(self, rows: pl.DataFrame, meter: Meter) -> pl.DataFrame:
        own = rows.filter(pl.col(EVENT_NAME) == meter.event_name)
        if self.archived:
            dated = pl.lit(value=False)
            return own.with_columns(*_told(pl.lit(Code.ARCHIVED_METER.value), pl.lit("archived"), dated))
        standard = self.standard
        doubtful = mark_sound(own.lazy(), standard).filter(~pl.col(SOUND)).select(rows.columns).collect()
        judged = standard.judge(doubtful)
        first = pl.coalesce(_counted(fault_column(aspect)) for aspect in ORDER)
        code = pl.when(_is_well_formed()).then(first)
        known = judged.with_columns(code.alias(PREDICTED)).filter(pl.col(PREDICTED).is_not_null())
        told = known.with_columns(*_told(pl.col(PREDICTED), _shape(), self._is_certain()))
        return told.select(*rows.columns, PREDICTED, KIND, CERTAIN)

    def _is_certain(self) -> pl.Expr:
        """Tell whether the fault cannot have been absent at any time since the row was written."""
        seconds, code = timestamps.epoch_seconds(pl.col(TIMESTAMP)), pl.col(PREDICTED)
        oldest = (pl.col(WRITTEN) - MAX_AGE).dt.epoch("s")
        return (
            code.is_in(list(_LASTING))
            | ((code == Code.CUSTOMER_NOT_FOUND) & _has_blanks_around())
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


def _told(code: pl.Expr, shape: pl.Expr, certain: pl.Expr) -> tuple[pl.Expr, ...]:
    return code.alias(PREDICTED), pl.format("{}: {}", code, shape).alias(KIND), certain.alias(CERTAIN)


def _shape() -> pl.Expr:
    """Say in what way the value, customer or time of a row is at fault, the same for rows of one kind."""
    code = pl.col(PREDICTED)
    digits = pl.format("{} digits", pl.col(TIMESTAMP).str.len_chars())
    return (
        pl.when(code.is_in([Code.INVALID_VALUE, Code.VALUE_TOO_MANY_DIGITS]))
        .then(_skeleton(pl.col(VALUE_TEXT)))
        .when(code == Code.CUSTOMER_NOT_FOUND)
        .then(pl.when(_has_blanks_around()).then(pl.lit("blanks around")).otherwise(pl.lit("unknown id")))
        .when(code.is_in([Code.TIMESTAMP_IN_FUTURE, Code.TIMESTAMP_TOO_FAR_IN_PAST]))
        .then(digits)
        .otherwise(pl.lit("missing"))
    )


def _has_blanks_around() -> pl.Expr:
    """Tell whether the customer can be no id of Stripe's."""
    return pl.col(CUSTOMER_ID).str.strip_chars() != pl.col(CUSTOMER_ID)


def _skeleton(text: pl.Expr) -> pl.Expr:
    """Return a text with `9` for each run of digits and `a` for each of letters: `1,234 kWh` becomes `9,9 a`."""
    short = text.str.replace_all(r"\p{Nd}+", "9").str.replace_all(r"\p{L}+", "a")
    return short.str.slice(0, _LONGEST_SHAPE)
