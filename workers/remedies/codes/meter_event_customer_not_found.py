"""`meter_event_customer_not_found`: the id is unknown or was deleted (Stripe docs, "Record usage in bulk").

Alone: blanks, quotes or invisible characters stand around an id that is known to exist. By rule: an alias, or
exactly one customer that carries the id in its metadata (Stripe docs, "Search", `customers.search`).
"""

import polars as pl

from workers.kernel.awaited_names import CUSTOMER
from workers.kernel.code_reasons import CODE_REASONS
from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.quantities import bare_text
from workers.remedies.remedy import Remedy, RepairContext, offer, sentence, translate
from workers.remedies.rules import ALIAS, TARGET, aliases_of


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Put the id that exists, or the one that a rule leads to."""
    given, core = pl.col(CUSTOMER_ID), bare_text(pl.col(CUSTOMER_ID))
    aliases, found = context.rules.customer_aliases, context.catalog.metadata_hits
    hits = aliases_of({text: ids[0] for text, ids in found.items() if len(ids) == 1})
    return offer(
        rows,
        CUSTOMER_ID,
        ("alias_rule", translate(rows, given, aliases)),
        ("trimmed", translate(rows, core, _existing(context.catalog))),
        ("alias_rule", translate(rows, core, aliases)),
        ("metadata_rule", translate(rows, given, hits)),
        ("metadata_rule", translate(rows, core, hits)),
    )


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Name the trimmed id, several metadata hits, or the nearest known id."""
    given, core = pl.col(CUSTOMER_ID), bare_text(pl.col(CUSTOMER_ID))
    ids = context.ids
    near = ids.nearest(rows[CUSTOMER_ID]) if ids else pl.Series([None], dtype=pl.String)
    trimmed = pl.when((core != given) & pl.lit(ids is None)).then(core)
    hits = {text: ", ".join(found) for text, found in context.catalog.metadata_hits.items() if len(found) > 1}
    several = translate(rows, given, aliases_of(hits))
    return sentence(
        rows,
        pl.coalesce(
            pl.format("without what stands around it the id is {}; nothing here says that it exists", trimmed),
            pl.format("several customers carry it in their metadata: {}", pl.lit(several)),
            pl.format("did you mean {}? (rule customers.aliases)", pl.lit(near)),
        ),
    )


def _existing(catalog: Catalog) -> pl.DataFrame:
    known = catalog.known_customers
    if known is None:
        return aliases_of({})
    return known.select(pl.col(CUSTOMER_ID).alias(ALIAS), pl.col(CUSTOMER_ID).alias(TARGET))


CUSTOMER_NOT_FOUND = Remedy(
    "meter_event_customer_not_found",
    "customer",
    CODE_REASONS["meter_event_customer_not_found"],
    mend,
    advise,
    shown_in=CUSTOMER_ID,
    cause_outside=True,
    awaits=pl.concat_str(pl.lit(CUSTOMER), bare_text(pl.col(CUSTOMER_ID))),
)
