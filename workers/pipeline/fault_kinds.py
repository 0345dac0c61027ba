"""Kinds of faults, finer than Stripe's codes: learnt from records that Stripe names, believed of the others.

A kind is a code and the shape of what is wrong: `meter_event_invalid_value: 9,9` for `1,5` and `12,30` alike.
"""

from typing import Final

import polars as pl

from workers.kernel.codes import Code
from workers.records.catalog import CUSTOMER_ID, VALUE_TEXT, Catalog, folded, folded_text
from workers.records.schema import CODE, EVENT_NAME, SOURCE, TIMESTAMP

KIND: Final = "@kind"
"""In what way a row is at fault; `workers.kernel.ledger.fault_kinds` keeps which Stripe has been seen to refuse."""
_LONGEST_SHAPE: Final = 24


def kind(code: pl.Expr, catalog: Catalog) -> pl.Expr:
    """Return the kind of rows that `catalog` has resolved and that are at fault under a code."""
    return pl.format("{}: {}", code, _shape(code, catalog)).alias(KIND)


def kinds_named(rows: pl.DataFrame, catalog: Catalog) -> list[str]:
    """Return the kinds of rows of the sender's that Stripe has named, each under its `CODE`."""
    found = rows.filter(pl.col(SOURCE).is_not_null())
    return catalog.resolve(found).select(kind(pl.col(CODE), catalog).unique().sort()).to_series().to_list()


def has_blanks_around() -> pl.Expr:
    """Tell whether the customer can be no id of Stripe's."""
    return pl.col(CUSTOMER_ID).str.strip_chars() != pl.col(CUSTOMER_ID)


def _shape(code: pl.Expr, catalog: Catalog) -> pl.Expr:
    """Say in what way the name, value, customer or time of a row is at fault, the same for rows of one kind."""
    alike = [folded_text(name) for name in catalog.by_event_name]
    digits = pl.format("{} digits", pl.col(TIMESTAMP).str.len_chars())
    return (
        pl.when(code.is_in([Code.INVALID_VALUE, Code.VALUE_TOO_MANY_DIGITS]))
        .then(_skeleton(pl.col(VALUE_TEXT)))
        .when(code == Code.CUSTOMER_NOT_FOUND)
        .then(pl.when(has_blanks_around()).then(pl.lit("blanks around")).otherwise(pl.lit("unknown id")))
        .when(code.is_in([Code.TIMESTAMP_IN_FUTURE, Code.TIMESTAMP_TOO_FAR_IN_PAST]))
        .then(digits)
        .when(code == Code.NO_METER)
        .then(
            pl.when(folded(pl.col(EVENT_NAME)).is_in(alike))
            .then(pl.lit("another spelling"))
            .otherwise(pl.lit("unknown name"))
        )
        .when(code == Code.ARCHIVED_METER)
        .then(pl.lit("archived"))
        .otherwise(pl.lit("missing"))
    )


def _skeleton(text: pl.Expr) -> pl.Expr:
    """Return a text with `9` for each run of digits and `a` for each of letters: `1,234 kWh` becomes `9,9 a`."""
    short = text.str.replace_all(r"\p{Nd}+", "9").str.replace_all(r"\p{L}+", "a")
    return short.str.slice(0, _LONGEST_SHAPE)
