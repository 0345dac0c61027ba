"""A failure that is told again: by a second event, by a retry, or because its rows can be found now.

Every telling of one failure tells of the same records, and each record is counted once:

1. A row that was named before and is found now takes the place of its own count.
2. Any other row that is new takes the place of one that Stripe had only counted; so does a new name without a row.
3. What then is more than the journal has counted is new: further rows, further names, a larger count.

An imported file is refused once, so rows of it that are more than were counted are those of a changed file.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from workers.kernel.errors import Permanent
from workers.kernel.ledger.by_code import BY_CODE
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline import record_sets
from workers.pipeline.case_key import IMPORTED
from workers.pipeline.context import Context
from workers.pipeline.hold import held_moves
from workers.pipeline.intake.unlocated import Unlocated, by_code, counted_moves, named_without_rows, shared_out
from workers.pipeline.record_sets import ORIGIN, keep, movement

_CHANGED: Final = "they stand in the case already; put the file back as it was uploaded if it should be read again"


@dataclass(frozen=True)
class Retold:
    """One more telling of a failure.

    `rows` are those that the journal does not hold yet, `located` the identifiers of those that it holds, `records`
    how many records the telling is about in all.
    """

    rows: pl.LazyFrame
    located: pl.Series
    unlocated: Unlocated
    records: int
    event_id: str


def retold_moves(
    context: Context, failure: Failure, entries: Sequence[EntryRow], failed: int, told: Retold
) -> list[Movement]:
    """Return the entries that a telling adds to a journal of `failed` records; none where it says nothing new.

    Raises Permanent when a file tells of other rows than it did before.
    """
    named_before = named_without_rows(entries)
    located_since = set(told.located.filter(told.located.is_in(list(named_before))))
    waiting = {name: reason for name, reason in named_before.items() if name not in located_since}
    unnamed = record_sets.unlocated(entries) - Counter(waiting.values())
    is_named = pl.col(ORIGIN).is_in(list(waiting))
    named, others = told.rows.filter(is_named), told.rows.filter(~is_named)
    by_name = Counter(waiting[origin] for origin in named.select(ORIGIN).collect()[ORIGIN])
    count = others.select(pl.len()).collect().item()
    by_count = shared_out(unnamed, count)
    if failure.kind in IMPORTED and told.located.len() and count > by_count.total():
        raise Permanent(f"the file of {failure.case_id} is not what it was when its rows were taken in: {_CHANGED}")
    rows = pl.concat([named, others.head(by_count.total())])
    located = list(_located(context, failure, rows, by_name + by_count, told.event_id))
    more = list(_seen(context, failure, others.slice(by_count.total()), told.event_id))
    failed += count - by_count.total()
    return [*located, *more, *_missing(failure, told, waiting, unnamed - by_count, failed)]


def _located(
    context: Context, failure: Failure, rows: pl.LazyFrame, reasons: Counter[str], event_id: str
) -> Iterator[Movement]:
    if not reasons:
        return
    route = (Bucket.QUARANTINED, Bucket.PENDING)
    ref = keep(context, failure.case_id, "located", rows)
    moved = movement(context, EntryKind.LOCATED, route, ref, event_id=event_id, detail={"reasons": dict(reasons)})
    yield replace(moved, detail={**moved.detail, BY_CODE: by_code(failure, reasons.total())})
    yield from held_moves(context, failure.case_id, ref)


def _seen(context: Context, failure: Failure, rows: pl.LazyFrame, event_id: str) -> Iterator[Movement]:
    if rows.select(pl.len()).collect().item():
        ref = keep(context, failure.case_id, "seen", rows)
        yield movement(context, EntryKind.SEEN, (None, Bucket.PENDING), ref, event_id=event_id)
        yield from held_moves(context, failure.case_id, ref)


def _missing(
    failure: Failure, told: Retold, waiting: dict[str, str], unnamed: Counter[str], failed: int
) -> Iterator[Movement]:
    """Yield the entries for records without rows: those that are named for the first time, and a larger count."""
    named = {
        reason: [name for name in names if name not in waiting and name not in told.located]
        for reason, names in told.unlocated.named.items()
    }
    names = Counter({reason: len(identifiers) for reason, identifiers in named.items()})
    counted = shared_out(unnamed, names.total())
    failed += names.total() - counted.total()
    larger = shared_out(told.unlocated.unnamed, max(0, told.records - failed))
    missing = Unlocated(+(names + larger), told.unlocated.suggestions, named)
    yield from counted_moves(failure, missing, told.event_id, known=counted)
