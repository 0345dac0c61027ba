"""What is worth asking Stripe before records are repaired: which customers exist, and whose metadata names another id.

The answers go into the `Catalog`. More is asked for than may be used, since whether a record is refused for its
customer alone is only known afterwards; each distinct text is asked for once.
"""

import polars as pl

from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.quantities import bare_text
from workers.remedies.meter_event_no_customer_defined import candidate_ids, ruled_customers
from workers.remedies.remedy import translate
from workers.remedies.rules import Rules

_STRIPE_ID = r"^(cus|acct)_[A-Za-z0-9_]+$"
_LONGEST_ID = 255


def customers_to_look_up(frame: pl.DataFrame, catalog: Catalog, rules: Rules) -> list[str]:
    """Return the distinct ids, sorted, whose existence decides about these records and is not yet known.

    They are the ids as given and without what stands around them, their aliases' targets, the metadata hits, and
    what other columns or rules offer where no customer is given.
    """
    resolved = catalog.resolve(frame)
    given = bare_text(pl.col(CUSTOMER_ID))
    texts = _distinct(resolved, given, *candidate_ids(resolved, catalog), *ruled_customers(resolved, rules))
    aliased = _followed(_with_raw(texts, resolved), rules.customer_aliases)
    hits = pl.Series([hits[0] for hits in catalog.metadata_hits.values() if len(hits) == 1], dtype=pl.String)
    wanted = pl.concat([texts, aliased, hits.alias(texts.name)]).unique()
    known = catalog.known_customers
    if known is not None:
        wanted = wanted.filter(~wanted.is_in(known[CUSTOMER_ID].implode()))
    return wanted.filter(wanted.str.len_chars() <= _LONGEST_ID).sort().to_list()


def metadata_queries(frame: pl.DataFrame, catalog: Catalog, rules: Rules) -> list[str]:
    """Return the distinct texts, sorted, that stand for a customer, are no Stripe id and have no alias.

    Each is to be searched for under `rules.customers.metadata_key`; without such a rule there are none.
    """
    if rules.customers.metadata_key is None:
        return []
    texts = _distinct(catalog.resolve(frame), bare_text(pl.col(CUSTOMER_ID)))
    aliases = rules.customer_aliases["alias"]
    foreign = texts.filter(~texts.str.contains(_STRIPE_ID) & ~texts.is_in(aliases.implode()))
    return foreign.sort().to_list()
