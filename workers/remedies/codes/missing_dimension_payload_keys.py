"""`missing_dimension_payload_keys`: the payload lacks a key that the meter's dimensions need.

Source: stripe-python's `V1BillingMeterErrorReportTriggeredEvent`. By rule only: a default for each key.
"""

import polars as pl

from workers.kernel.reasons import Reason
from workers.records.quantities import is_blank
from workers.records.schema import payload_column, with_columns_of
from workers.remedies.remedy import HOW, Remedy, RepairContext
from workers.remedies.rules import DimensionRule, meter_is


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Fill in the defaults, those of a rule for the very meter first."""
    for rule in context.rules.dimension_rules():
        rows = _fill(rows, rule)
    return rows


def _fill(rows: pl.DataFrame, rule: DimensionRule) -> pl.DataFrame:
    defaults = {payload_column(key): default for key, default in rule.defaults.items()}
    rows = with_columns_of(rows, defaults)
    fills = {name: meter_is(rule.meter) & is_blank(pl.col(name)) for name in defaults}
    return rows.with_columns(
        pl.when(pl.any_horizontal(pl.lit(value=False), *fills.values()))
        .then(pl.lit("default_rule"))
        .otherwise(pl.col(HOW))
        .alias(HOW),
        *(
            pl.when(fill).then(pl.lit(defaults[name])).otherwise(pl.col(name)).alias(name)
            for name, fill in fills.items()
        ),
    )


MISSING_DIMENSION_PAYLOAD_KEYS = Remedy(
    "missing_dimension_payload_keys",
    "dimension",
    Reason(
        "The payload lacks one of the meter's dimensions.",
        "Fill in the dimension, or give its key a default (rule dimensions.defaults).",
    ),
    mend,
)
