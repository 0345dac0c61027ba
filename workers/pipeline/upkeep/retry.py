"""Taking work up again on an operator's word: an event that has ended, or a case whose cause was mended.

Quarantined records go back to pending and are planned anew, so everything that guards a first plan guards this one.
Records that may stand at Stripe already stay where they are, unless somebody approves by name: then those that were
sent before are sent again as they are, under the same identifier, where Stripe has not turned that identifier away,
and those that would overwrite another value or that a lost ledger may have sent are planned anew and may go, once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

import polars as pl

from workers.kernel.codes import WORKED_ON, Outcome
from workers.kernel.errors import InputUnusable, Transient
from workers.kernel.ledger.case import VALIDATION_REPORT, Case
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.events import OPEN, StoredEvent
from workers.kernel.ledger.journal import OURSELVES, Bucket, EntryKind, Movement
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.logs import get_logger
from workers.kernel.reasons import (
    COUNTER_ENTERED,
    IDENTIFIER_TAKEN,
    PERHAPS_SENT_BEFORE,
    PERHAPS_UNDONE,
    SENT_BEFORE,
    UNCERTAIN,
    UNDONE,
    WINDOW_BY_FILE,
    WOULD_OVERWRITE,
)
from workers.pipeline.approvals import BY_FILE, OVERWRITE, SEND_AGAIN
from workers.pipeline.context import Context
from workers.pipeline.livemode import mode_of, require_own_mode
from workers.pipeline.record_sets import (
    DATA,
    REFUSED_AS,
    as_refused,
    keep,
    movement,
    reasons_of,
    records_in,
    with_next_identifiers,
)
from workers.records.schema import OUTCOME, PLAN_COLUMNS, QUANTITY, REASON

log = get_logger(__name__)

_WORDS: Final = {WOULD_OVERWRITE: OVERWRITE, WINDOW_BY_FILE: BY_FILE, PERHAPS_SENT_BEFORE: SEND_AGAIN}
"""What an approval says that lets records go which wait for this reason."""
LOOK_AGAIN: Final = "look_again"
"""In an entry's detail: the sources are to be looked through once more for records that are only counted."""
_UNKNOWN: Final = "there is no such event or case"
_IDS: Final = "`metermend cases`, the alerts and the console name the ids"


@dataclass(frozen=True)
class Retried:
    """What a retry of a case did: `kept_back` counts the records that it left alone, by reason.

    Where no worker was `hinted` at it, the clock's next sweep takes it up.
    """

    case_id: str
    reopened: int = 0
    resent: int = 0
    kept_back: Mapping[str, int] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    hinted: bool = True


def retry_event(context: Context, event_id: str) -> bool:
    """Take an event up again now; what the journal has of it already is not counted twice.

    Returns whether a worker was hinted at it; without a hint the clock's next sweep finds it due. Raises
    InputUnusable when there is no such event, none of ours is to be done for it, or a worker has it.
    """
    event = context.ledger.events.get(event_id)
    if event is None:
        raise InputUnusable(_UNKNOWN, where=event_id, mend=_IDS)
    if event.type not in WORKED_ON:
        raise InputUnusable(
            f"{event.type} says nothing of refused usage", where=event_id, mend="nothing is to be done"
        )
    require_own_mode(context, event_id, livemode=mode_of(context, event))
    if not context.ledger.events.retry(event_id):
        raise InputUnusable("a worker has it just now", where=event_id, mend="wait until it has ended")
    return _hinted(context, [event])


def _hinted(context: Context, events: Sequence[StoredEvent], case: Case | None = None) -> bool:
    """Give hints and return whether they were taken: what they are about is due in the ledger already."""
    try:
        for event in events:
            context.queue.enqueue_event(event.id, 0, large=event.large)
        if case is not None:
            context.queue.enqueue_case(case.id, case.version)
    except Transient as error:
        log.warning("enqueue_failed", error=str(error))
        return False
    return True


@dataclass(frozen=True)
class Asked:
    """Who asked for a retry, what its entries are to say of that, and which quarantined records are meant.

    `require` raises InputUnusable where the held case is not as it was when he asked.
    """

    actor: str = OURSELVES
    said: Mapping[str, str] = field(default_factory=dict)
    chosen: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None
    require: Callable[[HeldCase], None] | None = None

    def is_done(self, journal: Sequence[EntryRow]) -> bool:
        """Whether an entry says so already: what broke off after its commit is not done twice."""
        return bool(self.said) and any(self.said.items() <= entry.detail.items() for entry in journal)


_BY_ITSELF: Final = Asked()


def retry_case(
    context: Context, case_id: str, *, approved_by: str | None = None, asked: Asked = _BY_ITSELF
) -> Retried:
    """Reopen a case's quarantined records, look again for those that were only counted, and make the case due.

    With `approved_by`, records that may be billed already are taken up too, and the journal says on whose word.
    Raises Conflict while a worker holds the case, InputUnusable when there is none of that id or it is of the other
    mode.
    """
    case = context.ledger.cases.get(case_id)
    if case is None:
        raise InputUnusable(_UNKNOWN, where=case_id, mend=_IDS)
    require_own_mode(context, case_id, livemode=case.failure.livemode)
    with context.ledger.cases.hold(case_id, context.owner, context.lease) as held:
        if asked.is_done(held.journal):
            return Retried(case_id)
        if asked.require is not None:
            asked.require(held)
        retried, moves = _plan(context, held, approved_by, asked)
        is_counted = case.failure.kind == VALIDATION_REPORT and unlocated(held.journal)
        if is_counted and asked.chosen is None:
            moves.append(Movement(EntryKind.NOTED, None, None, 0, Decimal(0), detail={LOOK_AGAIN: True}))
        moves = [replace(m, actor=approved_by or asked.actor, detail={**m.detail, **asked.said}) for m in moves]
        with held.transaction(last=True) as transaction:
            transaction.move(*moves)
            transaction.reschedule(context.clock())
    found = map(context.ledger.events.get, retried.events)
    events = [event for event in found if event is not None and context.ledger.events.retry(event.id)]
    hinted = _hinted(context, events, held.case)
    return replace(retried, events=tuple(event.id for event in events), hinted=hinted)


def _plan(
    context: Context, held: HeldCase, approved_by: str | None, asked: Asked
) -> tuple[Retried, list[Movement]]:
    case_id = held.case.id
    looked_at = _events_to_look_at(context, held.journal) if asked.chosen is None else ()
    events = tuple(dict.fromkeys(looked_at))
    quarantined = records_in(context, held.journal, Bucket.QUARANTINED)
    if quarantined is None:
        return Retried(case_id, events=events), []
    quarantined = asked.chosen(quarantined) if asked.chosen else quarantined
    reason = pl.col(REASON).fill_null("")
    resent = quarantined.filter(reason.is_in(SENT_BEFORE)) if approved_by else quarantined.clear()
    closed = SENT_BEFORE if approved_by else UNCERTAIN
    taken_up = quarantined.filter(~reason.is_in(closed))
    again = as_judged(context, held.journal, taken_up)
    kept = quarantined.filter(reason.is_in([] if approved_by else UNCERTAIN)).group_by(REASON).len().collect()
    moves = [
        *_let_go(context, case_id, again, approved_by),
        *_reopen(context, case_id, again, reasons_of(taken_up.with_columns(reason))),
        *_resend(context, held, resent, approved_by),
    ]
    counts = [sum(m.records for m in moves if m.kind is kind) for kind in (EntryKind.REOPENED, EntryKind.PLANNED)]
    return Retried(case_id, counts[0] - counts[1], counts[1], dict(kept.iter_rows()), events), moves


def _events_to_look_at(context: Context, entries: Sequence[EntryRow]) -> Iterator[str]:
    """Yield the events behind records that were only counted: their rows may be found by now."""
    if not unlocated(entries):
        return
    for entry in entries:
        event = context.ledger.events.get(entry.event_id) if entry.event_id and entry.record_set is None else None
        if event is not None and event.state not in OPEN:
            yield event.id


def _reopen(
    context: Context, case_id: str, records: pl.LazyFrame, reasons: Mapping[str, int]
) -> Iterator[Movement]:
    """Yield the entry that has records planned anew; like every other, it tells which reasons end with it."""
    if not reasons:
        return
    stale = [name for name in PLAN_COLUMNS if name != QUANTITY]
    ref = keep(context, case_id, "reopened", records.drop(stale, strict=False))
    route = (Bucket.QUARANTINED, Bucket.PENDING)
    yield movement(context, EntryKind.REOPENED, route, ref, detail={"reasons": reasons})


def as_judged(context: Context, journal: Sequence[EntryRow], records: pl.LazyFrame) -> pl.LazyFrame:
    """Return records as they are to be planned: what was sent and taken back, as Stripe refused it."""
    undone = records.filter(pl.col(REASON) == UNDONE)
    if undone.select(pl.len()).collect().item() == 0:
        return records
    others = records.filter(pl.col(REASON).ne_missing(UNDONE))
    return pl.concat([others, as_refused(context, journal, undone)], how="diagonal")


def _let_go(context: Context, case_id: str, records: pl.LazyFrame, approved_by: str | None) -> Iterator[Movement]:
    """Yield the entries that let records past the guard that has stopped them, on somebody's word."""
    if approved_by is None:
        return
    for reason, word in _WORDS.items():
        stopped = records.filter(pl.col(REASON) == reason)
        if stopped.select(pl.len()).collect().item():
            ref = keep(context, case_id, "approved", stopped)
            entry = movement(context, EntryKind.APPROVED, (None, None), ref, detail={word: True})
            yield replace(entry, actor=approved_by)


def _resend(context: Context, held: HeldCase, records: pl.LazyFrame, approved_by: str | None) -> Iterator[Movement]:
    """Yield the entries that plan records again as they were sent, on somebody's word."""
    chosen = records.collect()
    if chosen.is_empty() or approved_by is None:
        return
    reasons = reasons_of(chosen)
    planned = chosen.with_columns(pl.lit(Outcome.REPAIRED.value).alias(OUTCOME))
    taken = pl.col(REASON).is_in([IDENTIFIER_TAKEN, COUNTER_ENTERED, PERHAPS_UNDONE])
    new = with_next_identifiers(planned.filter(taken).with_columns(pl.lit(DATA).alias(REFUSED_AS)))
    ref = keep(context, held.case.id, "resent", pl.concat([planned.filter(~taken), new]))
    detail = {"reasons": reasons, "approved": "resend what may be billed already"}
    yield Movement(EntryKind.APPROVED, None, None, chosen.height, Decimal(0), actor=approved_by, detail=detail)
    told = {"reasons": reasons}
    yield movement(context, EntryKind.REOPENED, (Bucket.QUARANTINED, Bucket.PENDING), ref, detail=told)
    yield movement(context, EntryKind.PLANNED, (Bucket.PENDING, Bucket.PLANNED), ref, detail=told)
