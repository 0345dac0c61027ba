"""`meter_event_dimension_count_too_high`: the payload has more dimensions than the meter takes.

Source: Stripe docs, "Record usage in bulk". Stripe does not publish the limit, so only Stripe finds this fault.
By rule only: the payload keys to keep, or those to drop. The customer's and the value's key always stay.
"""

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records.catalog import CUSTOMER_COLUMN, VALUE_COLUMN
from workers.records.schema import payload_column, payload_columns
from workers.remedies.remedy import Remedy, RepairContext, replace
from workers.remedies.rules import DimensionRule, meter_is


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Take out the keys that the first rule for the meter gives up."""
    free = pl.lit(value=True)
    for rule in context.rules.dimensions:
        if rule.keep is not None or rule.drop:
            goes = {name: (free & _may_lose(name, rule), None) for name in _given_up(rows, rule)}
            rows = replace(rows, "keep_rule" if rule.keep is not None else "drop_rule", goes)
            free = free & ~meter_is(rule.meter)
    return rows


def _may_lose(column: str, rule: DimensionRule) -> pl.Expr:
    return meter_is(rule.meter) & (pl.col(CUSTOMER_COLUMN) != column) & (pl.col(VALUE_COLUMN) != column)


def _given_up(rows: pl.DataFrame, rule: DimensionRule) -> list[str]:
    named = {payload_column(key) for key in (rule.drop if rule.keep is None else rule.keep)}
    return [name for name in payload_columns(rows.columns) if (name in named) == (rule.keep is None)]


DIMENSION_COUNT_TOO_HIGH = Remedy(
    "meter_event_dimension_count_too_high",
    "dimension",
    CODE_REASONS["meter_event_dimension_count_too_high"],
    mend,
)
