"""Planning: every pending record gets an outcome, before anything is sent.

The engine (`workers.remedies`) decides what the record itself allows; `guards` ask what no single record can tell.
What depends on the present state of Stripe's meters is asked just before sending (`preflight`).

A large case is decided a slice of its records at a time, so that memory is bounded. All slices share one moment and
the same facts of the whole case, so the plan is the same for any size of slices.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.errors import Corrupt
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, Tally
from workers.pipeline.context import Context
from workers.pipeline.examples import with_examples
from workers.pipeline.lookups import Catalogs
from workers.pipeline.plan.decide import RULES, decide, repeated_records
from workers.pipeline.record_sets import (
    PART_RECORDS,
    keep,
    movement,
    reasons_of,
    records_in,
    tally,
    workspace,
)
from workers.pipeline.upkeep.wake import awaited
from workers.records.schema import AWAITS, OUTCOME, REASON, with_columns_of

_ROUTES: Final = {
    Outcome.REPAIRED: (EntryKind.PLANNED, Bucket.PLANNED),
    Outcome.DEFERRED: (EntryKind.DEFERRED, Bucket.DEFERRED),
    Outcome.QUARANTINED: (EntryKind.QUARANTINED, Bucket.QUARANTINED),
}


def plan(context: Context, held: HeldCase) -> None:
    """Decide every located pending record of the case and write the plan down in one commit.

    Nothing is kept of a plan that breaks off: the next one begins anew, at a later moment.
    """
    pending = records_in(context, held.journal, Bucket.PENDING)
    assert pending is not None, "the journal holds pending records without a record set"
    with workspace(context) as folder:
        as_of = context.clock()
        decided = _decided(context, held.case, pending, folder, as_of)
        moves, waits = list(_moves(context, held, decided)), awaited(context, decided, as_of)
    with held.transaction() as transaction:
        transaction.move(*_revalued(pending, moves), *moves)
        transaction.awaited.add(waits)


def is_large(pending: int) -> bool:
    """Whether planning so many records is work that should not stand before small cases."""
    return pending > PART_RECORDS


def _decided(context: Context, case: Case, pending: pl.LazyFrame, folder: Path, as_of: datetime) -> pl.LazyFrame:
    """Decide all records and return the decisions in their order; those of a large case lie in `folder`."""
    catalogs = Catalogs(context, case.failure.account, context.rules_in_force)
    repeated = repeated_records(pending)
    frames: list[pl.LazyFrame] = []
    count = case.balance[Bucket.PENDING].records
    for first in range(0, count, PART_RECORDS):
        records = pending.slice(first, PART_RECORDS).collect()
        decided = decide(context, case, catalogs, records, repeated, as_of)
        if is_large(count):
            decided.write_parquet(folder / f"{first}.parquet", statistics=False)
        frames.append(pl.scan_parquet(folder / f"{first}.parquet") if is_large(count) else decided.lazy())
    return with_columns_of(pl.concat(frames, how="diagonal"), [RULES, AWAITS])


def _moves(context: Context, held: HeldCase, decided: pl.LazyFrame) -> Iterator[Movement]:
    """Yield one entry for each outcome."""
    for outcome, (kind, to) in _ROUTES.items():
        chosen = decided.filter(pl.col(OUTCOME) == outcome)
        reasons = reasons_of(chosen.with_columns(pl.col(REASON).fill_null("")))
        if reasons:
            rules = chosen.select(pl.col(RULES).unique().sort().drop_nulls()).collect().to_series()
            ref = keep(context, held.case.id, outcome, chosen.drop(RULES))
            detail = {"reasons": reasons, "rules": [digest for digest in rules if digest]}
            moved = movement(context, kind, (Bucket.PENDING, to), ref, detail=detail)
            yield replace(with_examples(context, moved), revision=len(held.submissions) + 1)


def _revalued(before: pl.LazyFrame, moves: list[Movement]) -> Iterator[Movement]:
    """Yield the entry that tells how much quantity the plan made readable, if any.

    A text such as `1,5` has no certain quantity until a rule reads it; the journal must hold before and after.
    """
    known = sum(tally(before).values(), Tally())
    decided = sum((Tally(move.records, move.quantity) for move in moves), Tally())
    change = decided + -known
    if change.records:
        raise Corrupt(f"the plan decides {decided.records} records where {known.records} are pending")
    if change.quantity:
        yield Movement(EntryKind.REVALUED, None, Bucket.PENDING, 0, change.quantity)
