"""`meter_event_value_too_many_digits`: more than 15 significant digits.

Source: Stripe changelog, "Billing meter event values validation" (2026-04-22). Alone: zeros that carry nothing go.
By rule: the value is rounded to a number of digits.
"""

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records import quantities
from workers.records.catalog import VALUE_TEXT
from workers.records.schema import MAX_SIGNIFICANT_DIGITS
from workers.remedies.remedy import Remedy, RepairContext, offer, translate
from workers.remedies.rules import ALIAS, TARGET, ValueRule, meter_is


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Drop idle zeros; where that is not enough, round as the rule says."""
    value = pl.col(VALUE_TEXT)
    plain = quantities.is_plain(value)
    shorter = quantities.strip_idle_zeros(value)
    too_long = quantities.has_too_many_digits(shorter)
    rules = [rule for rule in context.rules.values if rule.round_to_digits]
    rounded = [
        _rounded(rows, rule, pl.when(plain & too_long & meter_is(rule.meter)).then(shorter)) for rule in rules
    ]
    return offer(
        rows,
        VALUE_TEXT,
        *(("rounding_rule", text) for text in rounded),
        ("idle_zeros", pl.when(plain).then(shorter)),
    )


def _rounded(rows: pl.DataFrame, rule: ValueRule, text: pl.Expr) -> pl.Series:
    """Round the distinct texts in Python: `decimal` is the only exact arithmetic for them."""
    distinct = rows.select(text.alias(ALIAS)).drop_nulls().unique()
    digits, rounding = rule.round_to_digits or MAX_SIGNIFICANT_DIGITS, f"ROUND_{rule.rounding.upper()}"
    targets = [quantities.round_to(value, digits, rounding) for value in distinct[ALIAS]]
    return translate(rows, text, distinct.with_columns(pl.Series(TARGET, targets, dtype=pl.String)))


VALUE_TOO_MANY_DIGITS = Remedy(
    "meter_event_value_too_many_digits",
    "value",
    CODE_REASONS["meter_event_value_too_many_digits"],
    mend,
    shown_in=VALUE_TEXT,
)
