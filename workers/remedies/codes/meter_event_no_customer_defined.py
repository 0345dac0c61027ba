"""`meter_event_no_customer_defined`: the payload lacks the meter's customer key.

Source: Stripe docs, "Record usage in bulk".

Alone: exactly one id of the form `cus_...` or `acct_...` stands under a key that other meters or common usage
give to the customer, and no row of its file that names a customer has something else there. By rule: a column or a
constant for the source.
"""

from typing import Final

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.notation import customer_like, is_stranger
from workers.records.quantities import bare_text, is_blank
from workers.records.schema import EVIDENCE, SOURCE, original_columns, with_columns_of
from workers.remedies.remedy import Remedy, RepairContext, offer, sentence
from workers.remedies.rules import MissingCustomer, Rules

_FORM: Final = r"^(cus|acct)_[A-Za-z0-9_]+$"


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Copy the id to the meter's key."""
    rows = with_columns_of(rows, (EVIDENCE,))
    candidates, strange = _candidates(rows, context.catalog), _stands_among_strangers(rows, context.catalog)
    lone = pl.when((candidates.list.len() == 1) & ~strange).then(candidates.list.first())
    offers = [*(("source_rule", text) for text in ruled_customers(rows, context.rules)), ("known_key", lone)]
    blank = is_blank(pl.col(CUSTOMER_ID))
    return offer(rows, CUSTOMER_ID, *((how, pl.when(blank).then(text)) for how, text in offers))


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Name the candidates."""
    candidates = _candidates(rows, context.catalog)
    several = pl.when(candidates.list.len() > 1).then(candidates.list.join(" or "))
    strange = pl.when(_stands_among_strangers(rows, context.catalog)).then(candidates.list.first())
    return sentence(
        rows,
        pl.coalesce(
            pl.format("the customer could be {}", several),
            pl.format(
                "{} stands in a column that on other rows of the file is not the customer's: name the customer, or"
                " where it stands (rule customers.missing)",
                strange,
            ),
        ),
    )


def ruled_customers(rows: pl.DataFrame, rules: Rules) -> list[pl.Expr]:
    """Return what each rule on missing customers offers to each record, in the order of the rules."""
    sources = rows[SOURCE].drop_nulls().unique().to_list()
    return [
        pl.when(pl.col(SOURCE).is_in([name for name in sources if rule.covers(name)])).then(_offered(rule, rows))
        for rule in rules.customers.missing
    ]


def candidate_ids(rows: pl.DataFrame, catalog: Catalog) -> dict[str, pl.Expr]:
    """Return the id, or null, that stands in each column of a known key."""
    columns = customer_like(original_columns(rows.columns), catalog.customer_columns)
    texts = {name: bare_text(pl.col(name)) for name in columns}
    return {name: pl.when(text.str.contains(_FORM)).then(text) for name, text in texts.items()}


def _stands_among_strangers(rows: pl.DataFrame, catalog: Catalog) -> pl.Expr:
    """Tell whether an id of the record stands where rows of its file have something else than their customer's."""
    return pl.any_horizontal(
        pl.lit(value=False),
        *(
            text.is_not_null() & pl.lit(is_stranger(rows, name))
            for name, text in candidate_ids(rows, catalog).items()
        ),
    )


def _offered(rule: MissingCustomer, rows: pl.DataFrame) -> pl.Expr:
    if rule.constant is not None:
        return pl.lit(rule.constant)
    if rule.column not in rows.columns:
        return pl.lit(None, pl.String)
    return pl.when(~is_blank(pl.col(rule.column))).then(rule.column)


def _candidates(rows: pl.DataFrame, catalog: Catalog) -> pl.Expr:
    """Return the distinct ids that stand under the known keys, as a list per record."""
    ids = candidate_ids(rows, catalog)
    return pl.concat_list(list(ids.values())).list.drop_nulls().list.unique(maintain_order=True)


NO_CUSTOMER_DEFINED = Remedy(
    "meter_event_no_customer_defined",
    "customer",
    CODE_REASONS["meter_event_no_customer_defined"],
    mend,
    advise,
)
