"""The cheap pass before the diagnosis: which records are sound beyond doubt, so that nobody looks at them again.

Sound is narrower than clean: seconds of ten digits, a value of at most 15 characters, and so on. What is sound is
clean (a test holds the two together); what is not sound is judged in full.
"""

from typing import Final

import polars as pl

from workers.records import quantities
from workers.records.catalog import CUSTOMER_ID, VALUE_TEXT, Meter
from workers.records.notation import may_speak_against_points
from workers.records.quantities import is_blank
from workers.records.schema import (
    EVENT_NAME,
    EVIDENCE,
    IDENTIFIER,
    MAX_EVENT_NAME_LENGTH,
    MAX_IDENTIFIER_LENGTH,
    MAX_SIGNIFICANT_DIGITS,
    TIMESTAMP,
    UNREADABLE,
    with_columns_of,
)
from workers.records.validation import Standard, is_bare

SOUND: Final = "@sound"
SOUND_VALUE: Final = pl.Decimal(38, 14)
"""What a sound value fits in, and the sum of more of them than a file can hold."""

_SECONDS_LENGTH: Final = 10
"""Digits of epoch seconds from 2001 to 2286."""
_FIRST_OF_TEN: Final = 10**9


def mark_sound(records: pl.LazyFrame, standard: Standard) -> pl.LazyFrame:
    """Add `SOUND` and `catalog.VALUE_TEXT` to the records."""
    needed = {UNREADABLE, *standard.dimension_columns(), *standard.catalog.key_columns}
    present = records.collect_schema().names()
    absent = sorted(needed.difference(present))
    checks = (
        _has_sound_form(standard),
        _has_sound_meter(standard),
        _has_sound_time(standard),
        _has_sound_value(standard, has_evidence=EVIDENCE in present),
        standard.fault("dimension").is_null(),
        standard.seems_known(),
    )
    keyed = with_columns_of(records, absent).with_columns(standard.catalog.keyed())
    marked = keyed.with_columns(pl.all_horizontal(*checks).fill_null(value=False).alias(SOUND))
    return marked.drop(*absent, CUSTOMER_ID)


def is_doubtful(meter: Meter) -> pl.Expr:
    """Tell whether a row of the meter may be wrong whatever the day is and whichever customers exist.

    The row has been read, and has every column that the meter reads. One that is not doubtful has epoch seconds,
    and is sound where those are in the window and its customer exists: but for a meter that is archived, and for
    a quantity that its file speaks against, which is no fault of Stripe's.
    """
    sound = pl.all_horizontal(
        _is_short(),
        _has_ten(pl.col(TIMESTAMP)) & pl.col(TIMESTAMP).cast(pl.Int64, strict=False).is_not_null(),
        _is_short_and_plain(pl.col(meter.value_column)),
        is_bare(pl.col(meter.customer_column)),
        *(~is_blank(pl.col(name)) for name in meter.dimensions or ()),
    )
    return ~sound.fill_null(value=False)


def _has_sound_form(standard: Standard) -> pl.Expr:
    return pl.all_horizontal(_is_short(), pl.col(UNREADABLE).is_null(), ~standard.is_repeated())


def _is_short() -> pl.Expr:
    lengths = (EVENT_NAME, MAX_EVENT_NAME_LENGTH), (IDENTIFIER, MAX_IDENTIFIER_LENGTH)
    return pl.all_horizontal(pl.col(name).fill_null("").str.len_bytes() <= length for name, length in lengths)


def _has_sound_meter(standard: Standard) -> pl.Expr:
    name = pl.col(EVENT_NAME)
    if standard.catalog.meters is not None:
        return name.is_in([meter.event_name for meter in standard.catalog.active])
    return ~is_blank(name) & ~name.is_in(standard.event_aliases.implode())


def _has_sound_time(standard: Standard) -> pl.Expr:
    """Ten characters that are a number of ten digits leave no room for a sign or a blank."""
    text, window = pl.col(TIMESTAMP), standard.window
    ten = _has_ten(text) & pl.lit(window.oldest >= _FIRST_OF_TEN)
    return ten & window.holds(text.cast(pl.Int64, strict=False))


def _has_ten(text: pl.Expr) -> pl.Expr:
    return text.str.len_bytes() == _SECONDS_LENGTH


def _has_sound_value(standard: Standard, *, has_evidence: bool) -> pl.Expr:
    text = pl.col(VALUE_TEXT)
    sound = _is_short_and_plain(text)
    if "," in standard.decimal_marks.values():
        return sound & ~quantities.has_point(text)
    return sound & ~(quantities.has_point(text) & may_speak_against_points()) if has_evidence else sound


def _is_short_and_plain(text: pl.Expr) -> pl.Expr:
    return quantities.is_plain(text) & (text.str.len_bytes() <= MAX_SIGNIFICANT_DIGITS)
