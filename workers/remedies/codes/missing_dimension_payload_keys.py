"""`missing_dimension_payload_keys`: the payload lacks a key that the meter's dimensions need.

Source: stripe-python's `V1BillingMeterErrorReportTriggeredEvent`. By rule only: a default for each key.
"""

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records.quantities import is_blank
from workers.records.schema import payload_column, with_columns_of
from workers.remedies.remedy import Remedy, RepairContext, replace
from workers.remedies.rules import meter_is


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Fill in the defaults, those of a rule for the very meter first."""
    for rule in context.rules.dimensions:
        defaults = {payload_column(key): default for key, default in rule.defaults.items()}
        fills = {name: (meter_is(rule.meter) & is_blank(pl.col(name)), text) for name, text in defaults.items()}
        rows = replace(with_columns_of(rows, defaults), "default_rule", fills)
    return rows


MISSING_DIMENSION_PAYLOAD_KEYS = Remedy(
    "missing_dimension_payload_keys",
    "dimension",
    CODE_REASONS["missing_dimension_payload_keys"],
    mend,
)
