"""What is worth asking Stripe before records are repaired: which customers exist, and whose metadata fits.

The answers go into the `Catalog`. More is asked for than may be used, since whether a record is refused for its
customer alone is only known afterwards; each distinct text is asked for once.
"""

import polars as pl

from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.quantities import bare_text
from workers.remedies.apply import MAX_ROUNDS
from workers.remedies.codes.meter_event_no_customer_defined import candidate_ids, ruled_customers
from workers.remedies.remedy import translate
from workers.remedies.rules import ALIAS, Rules

_STRIPE_ID = r"^(cus|acct)_[A-Za-z0-9_]+$"
_LONGEST_ID = 255


def customers_to_look_up(frame: pl.DataFrame, catalog: Catalog, rules: Rules) -> list[str]:
    """Return the distinct ids, sorted, whose existence decides about these records and is not yet known.

    They are the ids as given and without what stands around them, their aliases' targets, the metadata hits, and
    what other columns or rules offer where no customer is given.
    """
    resolved = catalog.resolve(frame)
    offered = (*candidate_ids(resolved, catalog).values(), *ruled_customers(resolved, rules))
    texts = _distinct(resolved, pl.col(CUSTOMER_ID), bare_text(pl.col(CUSTOMER_ID)), *offered)
    hits = [hits[0] for hits in catalog.metadata_hits.values() if len(hits) == 1]
    wanted = pl.concat([_with_targets(texts, rules), pl.Series("text", hits, dtype=pl.String)]).unique()
    possible = wanted.to_frame().filter(
        (bare_text(pl.col("text")) == pl.col("text")) & (pl.col("text").str.len_chars() <= _LONGEST_ID)
    )
    known = catalog.known_customers
    unknown = possible if known is None else possible.join(known, left_on="text", right_on=CUSTOMER_ID, how="anti")
    return unknown["text"].sort().to_list()


def metadata_queries(frame: pl.DataFrame, catalog: Catalog, rules: Rules) -> list[str]:
    """Return the distinct texts, sorted, that stand for a customer, are no Stripe id and have no alias.

    Each is to be searched for under `rules.customers.metadata_key`; without such a rule there are none.
    """
    if rules.customers.metadata_key is None:
        return []
    texts = _distinct(catalog.resolve(frame), bare_text(pl.col(CUSTOMER_ID)))
    aliases = rules.customer_aliases[ALIAS]
    foreign = texts.filter(~texts.str.contains(_STRIPE_ID) & ~texts.is_in(aliases.implode()))
    return foreign.sort().to_list()


def _distinct(rows: pl.DataFrame, *texts: pl.Expr) -> pl.Series:
    """Return the distinct texts that are not blank."""
    columns = [rows.select(text.cast(pl.String).alias("text")).to_series() for text in texts]
    distinct = pl.concat(columns).drop_nulls().unique()
    return distinct.filter(distinct != "")


def _with_targets(texts: pl.Series, rules: Rules) -> pl.Series:
    """Return the texts and what their aliases lead to, as far as the remedies would follow them."""
    reached = frontier = texts
    for _ in range(MAX_ROUNDS):
        frontier = translate(frontier.to_frame(), pl.col("text"), rules.customer_aliases).drop_nulls().alias("text")
        reached = pl.concat([reached, frontier])
    return reached
