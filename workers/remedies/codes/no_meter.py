"""`no_meter`: no meter has the record's event name (Stripe docs, "Record usage in bulk").

Alone: the name is that of exactly one active meter once blanks around it, case, and `-`, `_` and spaces are folded.
By rule: an alias.
"""

import polars as pl

from workers.kernel.code_reasons import CODE_REASONS
from workers.records.catalog import Catalog, folded
from workers.records.quantities import bare_text
from workers.records.schema import EVENT_NAME
from workers.remedies.remedy import Remedy, RepairContext, offer, sentence, translate
from workers.remedies.rules import ALIAS, TARGET
from workers.remedies.suggestions import nearest_names


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Put the meter's own spelling, or the rule's."""
    name, aliases = pl.col(EVENT_NAME), context.rules.event_aliases
    return offer(
        rows,
        EVENT_NAME,
        ("alias_rule", translate(rows, name, aliases)),
        ("alias_rule", translate(rows, bare_text(name), aliases)),
        ("spelling", translate(rows, folded(name), _spellings(context.catalog))),
    )


def advise(rows: pl.DataFrame, context: RepairContext) -> pl.Series:
    """Name the nearest active meter."""
    near = nearest_names(rows[EVENT_NAME], (meter.event_name for meter in context.catalog.active))
    return sentence(rows, pl.format("did you mean the meter {}? (rule event_names.aliases)", pl.lit(near)))


def _spellings(catalog: Catalog) -> pl.DataFrame:
    names = pl.DataFrame({TARGET: [meter.event_name for meter in catalog.active]}, schema={TARGET: pl.String})
    spelled = names.select(folded(pl.col(TARGET)).alias(ALIAS), TARGET)
    return spelled.filter(~pl.col(ALIAS).is_duplicated())


NO_METER = Remedy(
    "no_meter",
    "meter",
    CODE_REASONS["no_meter"],
    mend,
    advise,
    shown_in=EVENT_NAME,
    cause_outside=True,
)
