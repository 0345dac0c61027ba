"""The one diagnosis: what Stripe would refuse in a record, and why. Everything that judges shares it.

A record is judged in six aspects, each with at most one fault at a time; a fault is a slug. Where Stripe has a
code for it the slug is that code, any other fault is one of form and is counted as `malformed_record`.

| aspect | faults |
|---|---|
| record | the reader's reasons, `event_name_missing`, `event_name_too_long`, `identifier_too_long`, |
| | `identifier_repeated` |
| meter | `no_meter`, `archived_meter` |
| timestamp | `timestamp_missing`, `timestamp_malformed`, `timestamp_too_far_in_past`, `timestamp_in_future` |
| customer | `meter_event_no_customer_defined`, `meter_event_customer_not_found` |
| value | `meter_event_value_not_found`, `meter_event_invalid_value`, `meter_event_value_too_many_digits` |
| dimension | `missing_dimension_payload_keys` |

`meter_event_dimension_count_too_high` is never found here: Stripe does not publish the limit. Codes: Stripe docs,
"Record usage in bulk", and stripe-python's enum; lengths: stripe-python's `billing.MeterEvent`.
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.records import quantities, timestamps
from workers.records.catalog import (
    CUSTOMER_ID,
    METER_STATUS,
    VALUE_TEXT,
    Catalog,
    Meter,
    only_asked,
    with_columns_of,
)
from workers.records.quantities import is_blank
from workers.records.schema import (
    EVENT_NAME,
    IDENTIFIER,
    MAX_EVENT_NAME_LENGTH,
    MAX_IDENTIFIER_LENGTH,
    MAX_SIGNIFICANT_DIGITS,
    ROW,
    TIMESTAMP,
    UNREADABLE,
)

ASPECTS: Final = ("record", "meter", "timestamp", "customer", "value", "dimension")
FAULT_COLUMNS: Final = tuple(f"@{aspect}_fault" for aspect in ASPECTS)

ASPECT_OF_CODE: Final = {
    Code.NO_METER: "meter",
    Code.ARCHIVED_METER: "meter",
    Code.TIMESTAMP_IN_FUTURE: "timestamp",
    Code.TIMESTAMP_TOO_FAR_IN_PAST: "timestamp",
    Code.NO_CUSTOMER_DEFINED: "customer",
    Code.CUSTOMER_NOT_FOUND: "customer",
    Code.VALUE_NOT_FOUND: "value",
    Code.INVALID_VALUE: "value",
    Code.VALUE_TOO_MANY_DIGITS: "value",
    Code.DIMENSION_COUNT_TOO_HIGH: "dimension",
    Code.MISSING_DIMENSION_PAYLOAD_KEYS: "dimension",
}

TIMESTAMP_MALFORMED: Final = "timestamp_malformed"
IDENTIFIER_REPEATED: Final = "identifier_repeated"

_PADDING: Final = quantities.AROUND + quantities.QUOTES
_KNOWN: Final = "@known"
_SECONDS_LENGTH: Final = 10
"""Digits of epoch seconds from 2001 to 2286."""
_FIRST_OF_TEN: Final = 10**9


@dataclass(frozen=True, eq=False)
class Standard:
    """What records are judged by: the catalog, the window of time, and the names that rules declare wrong.

    `customer_aliases` and `event_aliases` are the texts that a rule maps to another: they are no ids of Stripe's,
    so they count as faults even where customers or meters are unknown. `repeated_rows` are the numbers of the
    rows whose identifier already stands on an earlier row of the file.
    """

    catalog: Catalog
    window: timestamps.Window
    customer_aliases: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    event_aliases: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    repeated_rows: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.Int64))

    def judge(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add what the catalog knows of each record (`catalog.RESOLVED`) and one fault column per aspect."""
        frame = with_columns_of(frame.drop(FAULT_COLUMNS, strict=False), (UNREADABLE, *self._dimension_columns()))
        resolved = self._mark_known(self.catalog.resolve(frame))
        faults = (
            self._record(),
            self._meter(),
            self._timestamp(),
            self._customer(),
            self._value(),
            self._dimension(),
        )
        readable = pl.col(UNREADABLE).is_null()
        return resolved.with_columns(
            (fault if name == FAULT_COLUMNS[0] else pl.when(readable).then(fault)).cast(pl.String).alias(name)
            for name, fault in zip(FAULT_COLUMNS, faults, strict=True)
        ).drop(_KNOWN)

    def mark_sound(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `sound` and `catalog.VALUE_TEXT` for each record, cheaply, in the order of the frame.

        Sound is narrower than clean: seconds of ten digits, a value of at most 15 characters, and so on. What is
        sound is clean; what is not must be judged.
        """
        frame = with_columns_of(frame, (UNREADABLE, *self._dimension_columns()))
        resolved = self._mark_known(self.catalog.resolve(frame))
        checks = (self._has_sound_form(), self._has_sound_meter(), self._has_sound_time(), self._has_sound_value())
        return resolved.select(
            pl.all_horizontal(*checks, pl.col(_KNOWN), self._dimension().is_null())
            .fill_null(value=False)
            .alias("sound"),
            VALUE_TEXT,
        )

    def can_check(self, code: str) -> bool:
        """Tell whether this diagnosis would see the fault that the code names, given what is known."""
        if code in {Code.NO_METER, Code.ARCHIVED_METER}:
            return self.catalog.meters is not None
        if code == Code.CUSTOMER_NOT_FOUND:
            return self.catalog.customers is not None
        return code not in {Code.DIMENSION_COUNT_TOO_HIGH, Code.MISSING_DIMENSION_PAYLOAD_KEYS}

    def _mark_known(self, frame: pl.DataFrame) -> pl.DataFrame:
        known = self.catalog.known_customers
        if known is not None:
            marked = only_asked(known, CUSTOMER_ID, frame[CUSTOMER_ID]).with_columns(
                pl.lit(value=True).alias(_KNOWN)
            )
            return frame.join(marked, on=CUSTOMER_ID, how="left", maintain_order="left")
        alias = pl.col(CUSTOMER_ID).is_in(self.customer_aliases.implode())
        stands_alone = pl.col(CUSTOMER_ID).str.strip_chars(_PADDING) == pl.col(CUSTOMER_ID)
        return frame.with_columns((~alias & stands_alone & (pl.col(CUSTOMER_ID) != "")).alias(_KNOWN))

    def _dimension_columns(self) -> list[str]:
        return [name for meter in self.catalog.with_dimensions for name in meter.dimensions or ()]

    def _has_sound_form(self) -> pl.Expr:
        lengths = (EVENT_NAME, MAX_EVENT_NAME_LENGTH), (IDENTIFIER, MAX_IDENTIFIER_LENGTH)
        short = [pl.col(name).fill_null("").str.len_bytes() <= length for name, length in lengths]
        return pl.all_horizontal(*short, pl.col(UNREADABLE).is_null(), ~self._is_repeated())

    def _has_sound_meter(self) -> pl.Expr:
        if self.catalog.meters is not None:
            return (pl.col(METER_STATUS) == "active") & ~is_blank(pl.col(EVENT_NAME))
        return ~is_blank(pl.col(EVENT_NAME)) & ~pl.col(EVENT_NAME).is_in(self.event_aliases.implode())

    def _has_sound_time(self) -> pl.Expr:
        """Ten characters that are a number of ten digits leave no room for a sign or a blank."""
        text = pl.col(TIMESTAMP)
        ten = (text.str.len_bytes() == _SECONDS_LENGTH) & pl.lit(self.window.oldest >= _FIRST_OF_TEN)
        return ten & self.window.holds(text.cast(pl.Int64, strict=False))

    def _has_sound_value(self) -> pl.Expr:
        text = pl.col(VALUE_TEXT)
        return quantities.is_plain(text) & (text.str.len_bytes() <= MAX_SIGNIFICANT_DIGITS)

    def _is_repeated(self) -> pl.Expr:
        if self.repeated_rows.is_empty():
            return pl.lit(value=False)
        return pl.col(ROW).is_in(self.repeated_rows.implode()).fill_null(value=False)

    def _record(self) -> pl.Expr:
        name, identifier = pl.col(EVENT_NAME), pl.col(IDENTIFIER)
        return _first(
            (pl.col(UNREADABLE).is_not_null(), pl.col(UNREADABLE)),
            (is_blank(name), "event_name_missing"),
            (name.str.len_chars() > MAX_EVENT_NAME_LENGTH, "event_name_too_long"),
            (identifier.str.len_chars() > MAX_IDENTIFIER_LENGTH, "identifier_too_long"),
            (self._is_repeated(), IDENTIFIER_REPEATED),
        )

    def _meter(self) -> pl.Expr:
        name, status = pl.col(EVENT_NAME), pl.col(METER_STATUS)
        if self.catalog.meters is None:
            return _first((name.is_in(self.event_aliases.implode()), Code.NO_METER))
        return _first(
            (~is_blank(name) & status.is_null(), Code.NO_METER), (status == "inactive", Code.ARCHIVED_METER)
        )

    def _timestamp(self) -> pl.Expr:
        text, seconds = pl.col(TIMESTAMP), timestamps.epoch_seconds(pl.col(TIMESTAMP))
        return _first(
            (is_blank(text), "timestamp_missing"),
            (~timestamps.is_integer(text), TIMESTAMP_MALFORMED),
            (seconds < self.window.oldest, Code.TIMESTAMP_TOO_FAR_IN_PAST),
            (seconds > self.window.newest, Code.TIMESTAMP_IN_FUTURE),
        )

    def _customer(self) -> pl.Expr:
        return _first(
            (is_blank(pl.col(CUSTOMER_ID)), Code.NO_CUSTOMER_DEFINED),
            (~pl.col(_KNOWN).fill_null(value=False), Code.CUSTOMER_NOT_FOUND),
        )

    def _value(self) -> pl.Expr:
        text = pl.col(VALUE_TEXT)
        return _first(
            (is_blank(text), Code.VALUE_NOT_FOUND),
            (~quantities.is_plain(text), Code.INVALID_VALUE),
            (quantities.has_too_many_digits(text), Code.VALUE_TOO_MANY_DIGITS),
        )

    def _dimension(self) -> pl.Expr:
        return _first(*((_lacks_dimension(meter), Code.MISSING_DIMENSION_PAYLOAD_KEYS)
                        for meter in self.catalog.with_dimensions))  # fmt: skip


def code_of(slug: pl.Expr) -> pl.Expr:
    """Return the code under which a fault is counted: its own where Stripe has one, else `malformed_record`."""
    return (
        pl.when(slug.is_in([str(code) for code in ASPECT_OF_CODE]))
        .then(slug)
        .when(slug.is_not_null())
        .then(pl.lit(MALFORMED_RECORD))
    )


def first_fault() -> pl.Expr:
    """Return the slug of the record's first fault in the order of the aspects, or null."""
    return pl.coalesce(FAULT_COLUMNS)


def is_clean() -> pl.Expr:
    """Tell whether no aspect has a fault."""
    return pl.all_horizontal(pl.col(name).is_null() for name in FAULT_COLUMNS)


def _first(*cases: tuple[pl.Expr, pl.Expr | str]) -> pl.Expr:
    """Return the first fault whose condition holds, or null."""
    found = pl.lit(None, pl.String)
    for condition, fault in reversed(cases):
        found = (
            pl.when(condition).then(fault if isinstance(fault, pl.Expr) else pl.lit(str(fault))).otherwise(found)
        )
    return found


def _lacks_dimension(meter: Meter) -> pl.Expr:
    lacks = pl.any_horizontal(is_blank(pl.col(name)) for name in meter.dimensions or ())
    return (pl.col(EVENT_NAME) == meter.event_name) & lacks
