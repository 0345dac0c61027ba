"""The one diagnosis: what Stripe would refuse in a record, and why. Everything that judges shares it.

A record is judged in six aspects, each with at most one fault at a time; a fault is a slug. Where Stripe has a
code for it the slug is that code, any other fault is one of form and is counted as `malformed_record`. One is no
refusal of Stripe's at all: it would take in a `value_of_other_notation`, but as a quantity that its sender perhaps
never meant (`records.notation`).

| aspect | faults |
|---|---|
| record | the reader's reasons, `event_name_missing`, `event_name_too_long`, `identifier_too_long`, |
| | `identifier_repeated`, `payload_not_an_object` |
| meter | `no_meter`, `archived_meter` |
| timestamp | `timestamp_missing`, `timestamp_malformed`, `timestamp_too_far_in_past`, `timestamp_in_future` |
| customer | `meter_event_no_customer_defined`, `meter_event_customer_not_found` |
| value | `meter_event_value_not_found`, `meter_event_invalid_value`, `value_of_other_notation`, |
| | `meter_event_value_too_many_digits` |
| dimension | `missing_dimension_payload_keys` |

`meter_event_dimension_count_too_high` is never found here: Stripe does not publish the limit. Codes: Stripe docs,
"Record usage in bulk", and stripe-python's enum; lengths: stripe-python's `billing.MeterEvent`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.reasons import IDENTIFIER_REPEATED, VALUE_OF_OTHER_NOTATION
from workers.records import quantities, timestamps
from workers.records.catalog import CUSTOMER_ID, METER_STATUS, VALUE_TEXT, Catalog, Meter, is_among, only_asked
from workers.records.files.json_record import PAYLOAD
from workers.records.notation import COMMA_SHOWN, weigh
from workers.records.quantities import is_blank
from workers.records.schema import (
    EVENT_NAME,
    IDENTIFIER,
    MAX_EVENT_NAME_LENGTH,
    MAX_IDENTIFIER_LENGTH,
    ROW,
    TIMESTAMP,
    UNREADABLE,
    VALUE_READ,
    with_columns_of,
)

ASPECTS: Final = ("record", "meter", "timestamp", "customer", "value", "dimension")
FAULT_COLUMNS: Final = tuple(f"@{aspect}_fault" for aspect in ASPECTS)
"""Where the faults stand, by aspect (`fault_column`)."""

_UNSEEN: Final = (Code.DIMENSION_COUNT_TOO_HIGH, Code.MISSING_DIMENSION_PAYLOAD_KEYS)
"""Codes whose fault may be there although none is found; so may that of any code that this module never names."""

KNOWN: Final = "@known"
"""Whether the customer is known to exist, or nothing speaks against it; added by `Standard.mark_known`."""
TIMESTAMP_MALFORMED: Final = "timestamp_malformed"
PAYLOAD_NOT_AN_OBJECT: Final = "payload_not_an_object"
PAYLOAD_AS_TEXT: Final = "payload_as_text"
"""No fault of the diagnosis: the reader has taken the payload out of a text, in which Stripe reads none of it."""
EVERY_METER: Final = "*"
"""Stands for all event names that are not named."""

_PADDING: Final = quantities.AROUND + quantities.QUOTES


@dataclass(frozen=True, eq=False)
class Standard:
    """What records are judged by: the catalog, the window of time, and the names that rules declare wrong.

    `customer_aliases` and `event_aliases` are the texts that a rule maps to another: they are no ids of Stripe's,
    so they count as faults even where customers or meters are unknown. `repeated_rows` are the numbers of the
    rows whose identifier already stands on an earlier row, or in an earlier file. `decimal_marks` are those that
    rules declare by event name, and `quantity_columns` those that rules take quantities from. `renamed` are the
    event names that rules change to another. `for_dashboard`: the records go to the Dashboard, which takes times in
    forms that no file may have elsewhere.
    """

    catalog: Catalog
    window: timestamps.Window
    customer_aliases: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    event_aliases: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    repeated_rows: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.Int64))
    decimal_marks: Mapping[str, str | None] = field(default_factory=dict)
    quantity_columns: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    for_dashboard: bool = False

    def judge(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add what the catalog knows of each record (`catalog.RESOLVED`) and one fault column per aspect."""
        needed = (UNREADABLE, VALUE_READ, *self.dimension_columns())
        frame = with_columns_of(frame.drop(FAULT_COLUMNS, strict=False), needed)
        resolved = self.mark_known(weigh(self.catalog.resolve(frame), self.quantity_columns, self.renamed))
        return resolved.with_columns(self.fault(aspect) for aspect in ASPECTS).drop(KNOWN)

    def judge_again(self, frame: pl.DataFrame, aspect: str) -> pl.DataFrame:
        """Renew the judgement of records that were changed in one aspect. A meter's change touches all."""
        if aspect == "meter":
            return self.judge(frame)
        known = self.mark_known(frame) if aspect == "customer" else frame
        return known.with_columns(self.fault(aspect)).drop(KNOWN, strict=False)

    def can_check(self, code: str) -> bool:
        """Tell whether this diagnosis would see the fault that the code names, given what is known."""
        if code in {Code.NO_METER, Code.ARCHIVED_METER}:
            return self.catalog.meters is not None
        if code == Code.CUSTOMER_NOT_FOUND:
            return self.catalog.customers is not None
        return code in {*Code, MALFORMED_RECORD} and code not in _UNSEEN

    def mark_known(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add `KNOWN`, true or not, to records that have `catalog.CUSTOMER_ID`."""
        known = self.catalog.known_customers
        if known is None:
            return frame.with_columns(self._speaks_for_itself().alias(KNOWN))
        asked = only_asked(known, CUSTOMER_ID, frame[CUSTOMER_ID])
        marked = asked.with_columns(pl.lit(value=True).alias(KNOWN))
        return frame.join(marked, on=CUSTOMER_ID, how="left", maintain_order="left")

    def seems_known(self) -> pl.Expr:
        """Tell what `mark_known` tells, but for an unknown id that has the hash of a known one.

        That happens once in some 10^14 unknown ids; Stripe refuses such a record once more.
        """
        hashes = self.catalog.known_hashes
        return self._speaks_for_itself() if hashes is None else is_among(pl.col(CUSTOMER_ID), hashes)

    def _speaks_for_itself(self) -> pl.Expr:
        """Tell whether nothing speaks against a customer where none are known."""
        customer = pl.col(CUSTOMER_ID)
        alias = customer.is_in(self.customer_aliases.implode())
        return ~alias & is_bare(customer)

    def fault(self, aspect: str) -> pl.Expr:
        """Return the record's fault in the aspect, as the aspect's fault column."""
        faults: dict[str, Callable[[], pl.Expr]] = {
            "record": self._record,
            "meter": self._meter,
            "timestamp": self._timestamp,
            "customer": self._customer,
            "value": self._value,
            "dimension": self._dimension,
        }
        judged = pl.col(UNREADABLE).is_null() | pl.lit(aspect == "record")
        return pl.when(judged).then(faults[aspect]()).cast(pl.String).alias(fault_column(aspect))

    def dimension_columns(self) -> list[str]:
        """Return the columns of all known dimensions."""
        return [name for meter in self.catalog.with_dimensions for name in meter.dimensions or ()]

    def declared_mark(self) -> pl.Expr:
        """Return the decimal mark of the record's event name, where a rule declares it, else null."""
        named = {name: mark for name, mark in self.decimal_marks.items() if name != EVERY_METER}
        every = pl.lit(self.decimal_marks.get(EVERY_METER), pl.String)
        return pl.col(EVENT_NAME).replace_strict(named, default=every, return_dtype=pl.String)

    def is_repeated(self) -> pl.Expr:
        """Tell whether an earlier record has the record's identifier."""
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
            (self.is_repeated(), IDENTIFIER_REPEATED),
            (_has_unread_payload(), PAYLOAD_NOT_AN_OBJECT),
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
        if self.for_dashboard:
            seconds = pl.coalesce(seconds, timestamps.dashboard_seconds(text))
        return _first(
            (is_blank(text), "timestamp_missing"),
            (seconds.is_null(), TIMESTAMP_MALFORMED),
            (seconds < self.window.oldest, Code.TIMESTAMP_TOO_FAR_IN_PAST),
            (seconds > self.window.newest, Code.TIMESTAMP_IN_FUTURE),
        )

    def _customer(self) -> pl.Expr:
        return _first(
            (is_blank(pl.col(CUSTOMER_ID)), Code.NO_CUSTOMER_DEFINED),
            (~pl.col(KNOWN).fill_null(value=False), Code.CUSTOMER_NOT_FOUND),
        )

    def _value(self) -> pl.Expr:
        text = pl.col(VALUE_TEXT)
        return _first(
            (is_blank(text), Code.VALUE_NOT_FOUND),
            (~quantities.is_plain(text), Code.INVALID_VALUE),
            (quantities.has_point(text) & self._writes_commas(), VALUE_OF_OTHER_NOTATION),
            (quantities.has_too_many_digits(text), Code.VALUE_TOO_MANY_DIGITS),
        )

    def _writes_commas(self) -> pl.Expr:
        """Tell whether the comma is the sender's decimal mark, by rule or by the rest of his file."""
        declared = self.declared_mark()
        shown = declared.is_null() & pl.col(COMMA_SHOWN).is_not_null()
        return pl.col(VALUE_READ).is_null() & (shown | declared.eq_missing(pl.lit(",")))

    def _dimension(self) -> pl.Expr:
        lacks = pl.any_horizontal(pl.lit(value=False), *map(_lacks_dimension, self.catalog.with_dimensions))
        return _first((lacks, Code.MISSING_DIMENSION_PAYLOAD_KEYS))


def is_bare(customer: pl.Expr) -> pl.Expr:
    """Tell whether a customer's id has nothing around it, and is no blank; null stays null."""
    return (customer.str.strip_chars(_PADDING) == customer) & (customer != "")


def fault_column(aspect: str) -> str:
    """Return the column in which the fault of an aspect stands."""
    return f"@{aspect}_fault"


def first_fault() -> pl.Expr:
    """Return the slug of the record's first fault in the order of the aspects, or null."""
    return pl.coalesce(FAULT_COLUMNS)


def _first(*cases: tuple[pl.Expr, pl.Expr | str]) -> pl.Expr:
    """Return the first fault whose condition holds, or null."""
    found = pl.lit(None, pl.String)
    for condition, fault in reversed(cases):
        told = fault if isinstance(fault, pl.Expr) else pl.lit(str(fault))
        found = pl.when(condition).then(told).otherwise(found)
    return found


def _has_unread_payload() -> pl.Expr:
    """Tell whether the payload is a text that is no object, and nothing else says who used how much.

    Few files have such a column: the pattern matches it only where it is there.
    """
    text = pl.coalesce(pl.lit(None, pl.String), pl.col(f"^{PAYLOAD}$"))
    return ~is_blank(text) & is_blank(pl.col(CUSTOMER_ID)) & is_blank(pl.col(VALUE_TEXT))


def _lacks_dimension(meter: Meter) -> pl.Expr:
    lacks = pl.any_horizontal(is_blank(pl.col(name)) for name in meter.dimensions or ())
    return (pl.col(EVENT_NAME) == meter.event_name) & lacks
