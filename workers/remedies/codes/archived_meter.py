"""`archived_meter`: the meter was deactivated and takes no more records (Stripe docs, "Record usage in bulk").

By rule only: a successor meter counts the record, or the record waits until the meter is reactivated. When that
will be nobody knows, so it is deferred without a time.
"""

import polars as pl

from workers.kernel.awaited_names import METER
from workers.kernel.code_reasons import CODE_REASONS
from workers.records.catalog import METER_STATUS
from workers.records.schema import EVENT_NAME
from workers.remedies.remedy import Remedy, RepairContext, offer, translate
from workers.remedies.rules import aliases_of


def mend(rows: pl.DataFrame, context: RepairContext) -> pl.DataFrame:
    """Put the successor's event name, unless the meter is known to be active again."""
    successors = {rule.meter: rule.successor for rule in context.rules.archived_meters if rule.successor}
    name = pl.when(pl.col(METER_STATUS).ne_missing("active")).then(EVENT_NAME)
    return offer(rows, EVENT_NAME, ("successor_rule", translate(rows, name, aliases_of(successors))))


def defer(context: RepairContext) -> tuple[pl.Expr, pl.Expr]:
    """Let the records of the meters that are to wait, wait."""
    waiting = [rule.meter for rule in context.rules.archived_meters if rule.wait]
    return pl.col(EVENT_NAME).is_in(waiting), pl.lit(None, pl.String)


ARCHIVED_METER = Remedy(
    "archived_meter",
    "meter",
    CODE_REASONS["archived_meter"],
    mend,
    defer=defer,
    shown_in=EVENT_NAME,
    cause_outside=True,
    awaits=pl.concat_str(pl.lit(METER), pl.col(EVENT_NAME)),
)
