"""`meter_event_no_customer_defined`: the payload lacks the meter's customer key.

Source: Stripe docs, "Record usage in bulk".

Alone: exactly one id of the form `cus_...` or `acct_...` stands under a key that other meters or common usage
give to the customer. By rule: a column or a constant for the source.
"""

from typing import Final

import polars as pl

from workers.kernel.codes import Code
from workers.records.catalog import CUSTOMER_ID
from workers.records.quantities import bare_text
from workers.records.schema import PAYLOAD_PREFIX, SOURCE, original_columns
from workers.remedies.remedy import Context, Remedy, offer, sentence
from workers.remedies.rules import MissingCustomer

_FORM: Final = r"^(cus|acct)_[A-Za-z0-9_]+$"
_KNOWN_KEYS: Final = frozenset(
    {
        "stripe_customer_id",
        "customer_id",
        "customer",
        "stripe_customer",
        "stripe_id",
        "cus_id",
        "customer_account",
        "account_id",
        "account",
        "stripe_account",
        "stripe_account_id",
    }
)


def mend(rows: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Copy the id to the meter's key."""
    ruled = [("source_rule", _ruled(rule, rows)) for rule in context.rules.customers.missing]
    candidates = _candidates(rows, context)
    lone = pl.when(candidates.list.len() == 1).then(candidates.list.first())
    blank = bare_text(pl.col(CUSTOMER_ID)).fill_null("") == ""
    offers = [(how, pl.when(blank).then(text)) for how, text in (*ruled, ("known_key", lone))]
    return offer(rows, CUSTOMER_ID, *offers)


def advise(rows: pl.DataFrame, context: Context) -> pl.Series:
    """Name the candidates, or the rule that would help."""
    candidates = _candidates(rows, context)
    several = pl.when(candidates.list.len() > 1).then(candidates.list.join(" or "))
    return sentence(
        rows,
        pl.coalesce(
            pl.format("the customer could be {}", several),
            pl.lit("name the customer, or where it stands (rule customers.missing)"),
        ),
    )


def _ruled(rule: MissingCustomer, rows: pl.DataFrame) -> pl.Expr:
    covered = pl.col(SOURCE).is_in([name for name in rows[SOURCE].unique() if name and rule.covers(name)])
    if rule.constant is not None:
        return pl.when(covered).then(pl.lit(rule.constant))
    return (
        pl.when(covered).then(_filled(str(rule.column))) if rule.column in rows.columns else pl.lit(None, pl.String)
    )


def _filled(column: str) -> pl.Expr:
    return pl.when(bare_text(pl.col(column)) != "").then(pl.col(column))


def _candidates(rows: pl.DataFrame, context: Context) -> pl.Expr:
    """Return the distinct ids that stand under the known keys, as a list per record."""
    keys = {name.removeprefix(PAYLOAD_PREFIX) for name in context.catalog.customer_columns} | _KNOWN_KEYS
    columns = [name for name in original_columns(rows.columns) if name.removeprefix(PAYLOAD_PREFIX).lower() in keys]
    ids = [pl.when(bare_text(pl.col(name)).str.contains(_FORM)).then(bare_text(pl.col(name))) for name in columns]
    return (
        pl.concat_list(ids).list.drop_nulls().list.unique(maintain_order=True)
        if ids
        else pl.lit([], pl.List(pl.String))
    )


NO_CUSTOMER_DEFINED = Remedy(Code.NO_CUSTOMER_DEFINED, mend, advise)
