"""What the engine and the guards would make of waiting records, by other rules or as a person has edited them."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.ledger.case import Case
from workers.pipeline.context import Context
from workers.pipeline.lookups import Catalogs
from workers.pipeline.plan.decide import decide
from workers.pipeline.record_sets import ORIGIN, PART_RECORDS, RECORD
from workers.records.schema import CHANGES, EVENT_NAME, OUTCOME, QUANTITY, REASON, ROW, VALID_FROM, with_columns_of
from workers.remedies import Rules

TRIED: Final = (RECORD, ORIGIN, EVENT_NAME, QUANTITY, OUTCOME, REASON, VALID_FROM, CHANGES)
"""What is kept of a record that was tried."""
_NOBODY_REPEATS: Final = pl.Series(ROW, dtype=pl.Int64)
_NEARER: Final = {Outcome.QUARANTINED: 0, Outcome.DEFERRED: 1, Outcome.REPAIRED: 2}
"""How near an outcome is to being billed."""
_BEFORE: Final = "@nearness_before"


def tried(context: Context, case: Case, records: pl.LazyFrame, rules: Rules) -> pl.DataFrame:
    """Return what a plan by these rules would make of records that are as they are to be planned."""
    catalogs, as_of = Catalogs(context, case.failure.account, rules), context.clock()
    parts = [
        decide(context, case, catalogs, part, _NOBODY_REPEATS, as_of)
        for part in _parts(records)
        if not part.is_empty()
    ]
    kept = [with_columns_of(part, TRIED).select(TRIED) for part in parts]
    return (
        pl.concat(kept) if kept else pl.DataFrame(schema={RECORD: pl.Int64, **dict.fromkeys(TRIED[1:], pl.String)})
    )


def helped(
    context: Context, case: Case, records: pl.LazyFrame, now: Rules, then: Rules
) -> tuple[pl.DataFrame, ...]:
    """Split records, as they come out by the rules `then`, into those that these help and those that they do not.

    A record is helped that would be billed, or wait only for its time, and by the rules of `now` would not.
    """
    before = tried(context, case, records, now).select(RECORD, _nearness().alias(_BEFORE))
    after = tried(context, case, records, then).join(before, on=RECORD, maintain_order="left")
    nearer = after[_BEFORE] < after.select(_nearness()).to_series()
    return after.filter(nearer).drop(_BEFORE), after.filter(~nearer).drop(_BEFORE)


def _nearness() -> pl.Expr:
    return pl.col(OUTCOME).replace_strict({str(name): rank for name, rank in _NEARER.items()}, return_dtype=pl.Int8)


def _parts(records: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield records a slice at a time: the engine needs many times their memory."""
    count = records.select(pl.len()).collect().item()
    for first in range(0, count, PART_RECORDS):
        yield records.slice(first, PART_RECORDS).collect()
