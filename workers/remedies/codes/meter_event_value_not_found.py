"""`meter_event_value_not_found`: the meter's value key is not in the payload (Stripe docs, "Record usage in bulk").

Alone: the quantity stands under `value`, Stripe's own default key for it. Any other number of the payload may be a
status, a date or a seat, whatever is known of the meter's dimensions: it is shown to the person who looks, no more.
By rule: a column for the meter, or 1 for a meter that counts.
"""

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records import quantities
from workers.records.catalog import CUSTOMER_COLUMN, VALUE_COLUMN, VALUE_TEXT, Catalog
from workers.records.schema import EVENT_NAME, VALUE, payload_columns, with_columns_of
from workers.remedies.remedy import Remedy, RepairContext, offer, sentence
from workers.remedies.rules import ValueRule, meter_is


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Copy the quantity to the meter's key."""
    rows = with_columns_of(rows, (VALUE,))
    ruled = [_ruled(rule, rows, context.catalog) for rule in context.rules.values]
    offers, lacking = (*ruled, ("known_key", pl.col(VALUE))), quantities.is_blank(pl.col(VALUE_TEXT))
    filled = ((how, pl.when(lacking & ~quantities.is_blank(text)).then(text)) for how, text in offers)
    return offer(rows, VALUE_TEXT, *filled)


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Name the numbers that it could be."""
    numbers = _numbers(rows, context.catalog)
    found = pl.when(numbers.list.len() > 0).then(numbers.list.join(" or "))
    return sentence(rows, pl.format("it could be {}, from another payload column (rule values.column)", found))


def _ruled(rule: ValueRule, rows: pl.DataFrame, catalog: Catalog) -> tuple[str, pl.Expr]:
    if rule.column:
        text = pl.col(rule.column) if rule.column in rows.columns else pl.lit(None, pl.String)
        return "column_rule", pl.when(meter_is(rule.meter)).then(text)
    counting = [meter.event_name for meter in catalog.by_event_name.values() if meter.formula == "count"]
    counts = meter_is(rule.meter) & pl.lit(rule.one_when_missing) & pl.col(EVENT_NAME).is_in(counting)
    return "one_rule", pl.when(counts).then(pl.lit("1"))


def _numbers(rows: pl.DataFrame, catalog: Catalog) -> pl.Expr:
    """Return the numbers of each record that stand in no column of customer, value or dimension, as a list."""
    numbers = [
        pl.when(quantities.is_plain(pl.col(name)) & ~_is_taken(name, catalog)).then(pl.col(name))
        for name in payload_columns(rows.columns)
    ]
    return pl.concat_list(numbers).list.drop_nulls() if numbers else pl.lit([], pl.List(pl.String))


def _is_taken(column: str, catalog: Catalog) -> pl.Expr:
    meters = [meter.event_name for meter in catalog.with_dimensions if column in (meter.dimensions or ())]
    is_dimension = pl.col(EVENT_NAME).is_in(meters)
    return is_dimension | (pl.col(CUSTOMER_COLUMN) == column) | (pl.col(VALUE_COLUMN) == column)


VALUE_NOT_FOUND = Remedy(
    "meter_event_value_not_found",
    "value",
    CODE_REASONS["meter_event_value_not_found"],
    mend,
    advise,
)
