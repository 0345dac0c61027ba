"""`meter_event_dimension_count_too_high`: the payload has more dimensions than the meter takes.

Source: Stripe docs, "Record usage in bulk". Stripe does not publish the limit, so only Stripe finds this fault.
By rule only: the payload keys to keep, or those to drop. The customer's and the value's key always stay.
"""

import polars as pl

from workers.kernel.reasons import Reason
from workers.records.catalog import CUSTOMER_COLUMN, VALUE_COLUMN
from workers.records.schema import payload_column, payload_columns
from workers.remedies.remedy import HOW, Remedy, RepairContext
from workers.remedies.rules import DimensionRule, meter_is


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Take out the keys that the first rule for the meter gives up."""
    free = pl.lit(value=True)
    for rule in context.rules.dimension_rules():
        if rule.keep is not None or rule.drop:
            rows = _give_up(rows, rule, free & meter_is(rule.meter))
            free = free & ~meter_is(rule.meter)
    return rows


def _give_up(rows: pl.DataFrame, rule: DimensionRule, covered: pl.Expr) -> pl.DataFrame:
    columns = _given_up(rows, rule)
    goes = {name: covered & (pl.col(CUSTOMER_COLUMN) != name) & (pl.col(VALUE_COLUMN) != name) for name in columns}
    how = pl.lit("keep_rule" if rule.keep is not None else "drop_rule")
    changes = pl.any_horizontal(
        pl.lit(value=False), *(condition & pl.col(name).is_not_null() for name, condition in goes.items())
    )
    return rows.with_columns(
        pl.when(changes).then(how).otherwise(pl.col(HOW)).alias(HOW),
        *(pl.when(~condition).then(pl.col(name)).alias(name) for name, condition in goes.items()),
    )


def _given_up(rows: pl.DataFrame, rule: DimensionRule) -> list[str]:
    present = payload_columns(rows.columns)
    if rule.keep is not None:
        kept = {payload_column(key) for key in rule.keep}
        return [name for name in present if name not in kept]
    return [name for name in present if name in {payload_column(key) for key in rule.drop}]


DIMENSION_COUNT_TOO_HIGH = Remedy(
    "meter_event_dimension_count_too_high",
    "dimension",
    Reason(
        "The record has more dimensions than the meter takes.",
        "Say which payload keys to keep or to drop (rule dimensions).",
    ),
    mend,
)
