"""What an act leaves in the journals of its cases, and how records that it had planned anew wait again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import WAITING, Bucket, EntryKind, Movement
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.context import Context
from workers.pipeline.record_sets import RECORD, as_they_waited, keep, movement, reasons_of, records_in, scan
from workers.records.schema import REASON

ACT: Final = "act"
WHY: Final = "why"
"""In the detail of an entry that a person made: the act, and his reason."""
TOOK_BACK: Final = "took_back"
"""In the detail of an entry that undoes an act's: the act."""
_UNSENT: Final = (Bucket.PENDING, Bucket.PLANNED)
_BACK: Final = {Bucket.QUARANTINED: EntryKind.QUARANTINED, Bucket.DEFERRED: EntryKind.DEFERRED}


def told(act: Act) -> Mapping[str, Any]:
    """Return what the detail of an act's entries says of it."""
    return {ACT: act.id, WHY: act.why}


def entries_of(journal: Sequence[EntryRow], act: Act) -> list[EntryRow]:
    """Return the entries that an act has made."""
    return [entry for entry in journal if entry.detail.get(ACT) == act.id]


def taken_back(journal: Sequence[EntryRow], act: Act) -> list[EntryRow]:
    """Return the entries that have undone an act's."""
    return [entry for entry in journal if entry.detail.get(TOOK_BACK) == act.id]


def require_unsent(context: Context, journal: Sequence[EntryRow], act: Act, case_id: str) -> None:
    """Raise InputUnusable where a record that an act had planned anew is not ours to hold back any more."""
    ours = _reopened(context, journal, act)
    if ours is None or taken_back(journal, act):
        return
    there = [records_in(context, journal, bucket) for bucket in (*_UNSENT, *WAITING)]
    held = pl.concat([one.select(RECORD) for one in there if one is not None] or [ours.clear().select(RECORD)])
    gone = ours.join(held, on=RECORD, how="anti").select(pl.len()).collect().item()
    if gone:
        raise InputUnusable(
            f"{gone:,} of its records were sent or settled since",
            where=case_id,
            mend=f"metermend undo {case_id} takes back what was sent",
        )


def moves_back(context: Context, held: HeldCase, act: Act, by: str) -> list[Movement]:
    """Return what lets the records that an act had planned anew wait as before it; nothing once it is done.

    Raises InputUnusable where one of them was sent.
    """
    if taken_back(held.journal, act):
        return []
    require_unsent(context, held.journal, act, held.case.id)
    return list(_moves(context, held, act, by))


def commit_back(context: Context, held: HeldCase, moves: Sequence[Movement], act: Act) -> int:
    """Write that and give the case back; return how many records the act's undoing has moved, now or before."""
    with held.transaction(last=True) as transaction:
        transaction.move(*moves)
        transaction.reschedule(context.clock())
    return sum(entry.records for entry in taken_back(held.journal, act))


def _moves(context: Context, held: HeldCase, act: Act, by: str) -> Iterator[Movement]:
    ours = _reopened(context, held.journal, act)
    if ours is None:
        return
    before = held.journal[: entries_of(held.journal, act)[0].number - 1]
    for bucket in _UNSENT:
        there = records_in(context, held.journal, bucket)
        if there is None:
            continue
        for waited_in, kind in _BACK.items():
            chosen = there.join(ours.filter(pl.col(_FROM) == waited_in), on=RECORD, how="semi")
            if chosen.select(pl.len()).collect().item():
                ref = keep(context, held.case.id, "taken-back", as_they_waited(context, before, chosen))
                reasons = reasons_of(scan(context, ref).with_columns(pl.col(REASON).fill_null("")))
                detail = {"reasons": reasons, TOOK_BACK: act.id}
                yield movement(context, kind, (bucket, waited_in), ref, detail=detail, actor=by)


_FROM: Final = "@from"


def _reopened(context: Context, journal: Sequence[EntryRow], act: Act) -> pl.LazyFrame | None:
    """Return the numbers of the records that an act had planned anew, with the bucket that they waited in."""
    sets = [
        scan(context, entry.ref).select(RECORD, pl.lit(entry.from_bucket).alias(_FROM))
        for entry in entries_of(journal, act)
        if entry.kind == EntryKind.REOPENED and entry.ref is not None
    ]
    return pl.concat(sets) if sets else None
