"""Planning: every pending record gets an outcome, before anything is sent.

The engine (`workers.remedies`) decides what the record itself allows; `guards` ask what no single record can tell.
What depends on the present state of Stripe's meters is asked just before sending (`preflight`).

A small case is planned at once. A large one is planned in parts (`slices`) and put together here.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.errors import Corrupt
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, Tally
from workers.pipeline.context import Context
from workers.pipeline.lookups import Catalogs
from workers.pipeline.plan.decide import RULES, decide, repeated_records
from workers.pipeline.plan.slices import decided_frames, draft, is_large
from workers.pipeline.record_sets import keep, movement, reasons_of, records_in, tally
from workers.records.schema import OUTCOME, REASON, with_columns_of

_ROUTES: Final = {
    Outcome.REPAIRED: (EntryKind.PLANNED, Bucket.PLANNED),
    Outcome.DEFERRED: (EntryKind.DEFERRED, Bucket.DEFERRED),
    Outcome.QUARANTINED: (EntryKind.QUARANTINED, Bucket.QUARANTINED),
}


def plan(context: Context, held: HeldCase) -> None:
    """Decide every located pending record of the case and write the plan down in one commit.

    For a large case the first call drafts the parts, and the call after the last part has been decided finishes.
    """
    pending = records_in(context, held.journal, Bucket.PENDING)
    assert pending is not None, "the book holds pending records without a record set"
    decided = decided_frames(context, held)
    records = held.case.balance[Bucket.PENDING].records
    if not decided and is_large(records):
        draft(context, held, records)
        return
    frames = decided or [_decide_at_once(context, held, pending).lazy()]
    moves = _moves(context, held, frames)
    with held.transaction() as transaction:
        transaction.move(*_revalued(pending, moves), *moves)


def _decide_at_once(context: Context, held: HeldCase, pending: pl.LazyFrame) -> pl.DataFrame:
    case = held.case
    catalogs = Catalogs(context, case.failure.account)
    return decide(context, case, catalogs, pending.collect(), repeated_records(pending), context.clock())


def _moves(context: Context, held: HeldCase, frames: Sequence[pl.LazyFrame]) -> list[Movement]:
    """Return one entry for each outcome, over all parts of the plan in their order."""
    decided = with_columns_of(pl.concat(frames, how="diagonal"), [RULES])
    return [move for outcome in _ROUTES if (move := _move(context, held, outcome, decided)) is not None]


def _move(context: Context, held: HeldCase, outcome: Outcome, decided: pl.LazyFrame) -> Movement | None:
    kind, to = _ROUTES[outcome]
    chosen = decided.filter(pl.col(OUTCOME) == outcome)
    reasons = reasons_of(chosen.with_columns(pl.col(REASON).fill_null("")))
    if not reasons:
        return None
    revision = len(held.submissions) + 1
    rules = chosen.select(pl.col(RULES).unique().sort().drop_nulls()).collect().to_series()
    ref = keep(context, held.case.id, outcome, chosen.drop(RULES))
    detail = {"reasons": reasons, "rules": [digest for digest in rules if digest]}
    return movement(context, kind, (Bucket.PENDING, to), ref, revision=revision, detail=detail)


def _revalued(before: pl.LazyFrame, moves: list[Movement]) -> Iterator[Movement]:
    """Yield the entry that tells how much quantity the plan made readable, if any.

    A text such as `1,5` has no certain quantity until a rule reads it; the book must hold before and after.
    """
    known = sum(tally(before).values(), Tally())
    decided = sum((Tally(move.records, move.quantity) for move in moves), Tally())
    change = decided + -known
    if change.records:
        raise Corrupt(f"the plan decides {decided.records} records where {known.records} are pending")
    if change.quantity:
        yield Movement(EntryKind.REVALUED, None, Bucket.PENDING, 0, change.quantity)
