"""Taking work up again on an operator's word: an event that has ended, or a case whose cause was mended.

Quarantined records go back to pending and are planned anew, so everything that guards a first plan guards this one.
Records that may stand at Stripe already stay where they are, unless somebody approves by name: then those that were
sent before are sent again as they are, under the same identifier, where Stripe has not turned that identifier away,
and those that would overwrite another value are planned anew and may do so, once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

import polars as pl

from workers.kernel.codes import Outcome
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement
from workers.pipeline import book
from workers.pipeline.book import DATA, REFUSED_AS, keep, movement, records_in
from workers.pipeline.context import Context
from workers.pipeline.guards import ALREADY_RESUBMITTED, PLANNED_LONG_AGO, WOULD_OVERWRITE
from workers.pipeline.held import HELD_AT_SIGHT
from workers.pipeline.held_identifiers import ARRIVAL_UNKNOWN, IDENTIFIER_TAKEN
from workers.pipeline.overwriting import BY_FILE, OVERWRITE, WINDOW_BY_FILE
from workers.pipeline.refusals import PERHAPS_REFUSED
from workers.pipeline.revisions import with_next_identifiers
from workers.records.diagnosis import IDENTIFIER_REPEATED
from workers.records.schema import OUTCOME, PLAN_COLUMNS, QUANTITY, REASON

COUNTER_ENTERED: Final = "counter_entered"
"""Taken back by a counter-entry, which may not have counted yet."""
PERHAPS_UNDONE: Final = "perhaps_undone"
"""Taken back by a call that Stripe did not answer."""
SENT_BEFORE: Final = (ARRIVAL_UNKNOWN, IDENTIFIER_TAKEN, PERHAPS_REFUSED, COUNTER_ENTERED, PERHAPS_UNDONE)
UNCERTAIN: Final = (
    *SENT_BEFORE, ALREADY_RESUBMITTED, WOULD_OVERWRITE, WINDOW_BY_FILE, PLANNED_LONG_AGO, IDENTIFIER_REPEATED,
    *HELD_AT_SIGHT,
)  # fmt: skip
"""Reasons of records that may be billed already, or that would bill something else than was meant."""

_UNKNOWN: Final = "there is no such event or case"
_IDS: Final = "`metermend cases`, the alerts and the console name the ids"


@dataclass(frozen=True)
class Retried:
    """What a retry of a case did: `kept_back` counts the records that it left alone, by reason."""

    case_id: str
    reopened: int = 0
    resent: int = 0
    kept_back: Mapping[str, int] = field(default_factory=dict)
    events: tuple[str, ...] = ()


def retry_event(context: Context, event_id: str) -> None:
    """Take an ended event up again; what the book has of it already is not counted twice.

    Raises InputUnusable when there is no such event or it has not ended, Transient while Redis is away.
    """
    event = context.ledger.events.get(event_id)
    if event is None:
        raise InputUnusable(_UNKNOWN, where=event_id, mend=_IDS)
    if not context.ledger.events.retry(event_id):
        raise InputUnusable(f"it is {event.state} already", where=event_id, mend="wait until it has ended")
    context.queue.enqueue_event(event_id, 0, large=event.large)


def retry_case(context: Context, case_id: str, *, approved_by: str | None = None) -> Retried:
    """Reopen a case's quarantined records, look again for those that were only counted, and make the case due.

    With `approved_by`, records that may be billed already are taken up too, and the book says on whose word. Raises
    Conflict while a worker holds the case, Transient while Redis is away.
    """
    if context.ledger.cases.get(case_id) is None:
        raise InputUnusable(_UNKNOWN, where=case_id, mend=_IDS)
    with context.ledger.cases.hold(case_id, context.owner, context.lease) as held:
        retried, moves = _plan(context, held, approved_by)
        context.ledger.plan_parts.forget_deaths(case_id)
        with held.transaction() as transaction:
            for move in moves:
                transaction.move(move)
            transaction.wake(context.clock())
    for event_id in retried.events:
        retry_event(context, event_id)
    context.queue.enqueue_case(case_id, held.case.version)
    return retried


def _plan(context: Context, held: HeldCase, approved_by: str | None) -> tuple[Retried, list[Movement]]:
    case_id = held.case.id
    events = tuple(dict.fromkeys(_events_to_look_at(context, case_id)))
    quarantined = records_in(context, case_id, Bucket.QUARANTINED)
    if quarantined is None:
        return Retried(case_id, events=events), []
    reason = pl.col(REASON).fill_null("")
    resent = quarantined.filter(reason.is_in(SENT_BEFORE)) if approved_by else quarantined.clear()
    closed = SENT_BEFORE if approved_by else UNCERTAIN
    again = quarantined.filter(~reason.is_in(closed))
    kept = quarantined.filter(reason.is_in([] if approved_by else UNCERTAIN)).group_by(REASON).len().collect()
    moves = [
        *_let_go(context, case_id, again.filter(reason == WOULD_OVERWRITE), OVERWRITE, approved_by),
        *_let_go(context, case_id, again.filter(reason == WINDOW_BY_FILE), BY_FILE, approved_by),
        *_reopen(context, case_id, again),
        *_resend(context, held, resent, approved_by),
    ]
    counts = [sum(m.records for m in moves if m.kind is kind) for kind in (EntryKind.REOPENED, EntryKind.PLANNED)]
    return Retried(case_id, counts[0] - counts[1], counts[1], dict(kept.iter_rows()), events), moves


def _events_to_look_at(context: Context, case_id: str) -> Iterator[str]:
    """Yield the events behind records that were only counted: their rows may be found by now."""
    entries = context.ledger.queries.entries(case_id)
    if not book.unlocated(entries):
        return
    for entry in entries:
        event = context.ledger.events.get(entry.event_id) if entry.event_id and entry.record_set is None else None
        if event is not None and event.state not in (EventState.RECEIVED, EventState.PROCESSING):
            yield event.id


def _reopen(context: Context, case_id: str, records: pl.LazyFrame) -> Iterator[Movement]:
    if records.select(pl.len()).collect().item() == 0:
        return
    stale = [name for name in PLAN_COLUMNS if name != QUANTITY]
    ref = keep(context, case_id, "reopened", records.drop(stale, strict=False))
    yield movement(context, EntryKind.REOPENED, (Bucket.QUARANTINED, Bucket.PENDING), ref)


def _let_go(
    context: Context, case_id: str, records: pl.LazyFrame, word: str, approved_by: str | None
) -> Iterator[Movement]:
    """Yield the entry that lets records go past a guard of windows, on somebody's word."""
    if approved_by is None or records.select(pl.len()).collect().item() == 0:
        return
    ref = keep(context, case_id, "approved", records)
    approved = movement(context, EntryKind.APPROVED, (None, None), ref, detail={word: True})
    yield replace(approved, actor=approved_by)


def _resend(context: Context, held: HeldCase, records: pl.LazyFrame, approved_by: str | None) -> Iterator[Movement]:
    """Yield the entries that plan records again as they were sent, on somebody's word."""
    chosen = records.collect()
    if chosen.is_empty() or approved_by is None:
        return
    reasons = dict(chosen[REASON].value_counts(sort=True).iter_rows())
    planned = chosen.with_columns(pl.lit(Outcome.REPAIRED.value).alias(OUTCOME))
    taken = pl.col(REASON).is_in([IDENTIFIER_TAKEN, COUNTER_ENTERED, PERHAPS_UNDONE])
    new = with_next_identifiers(planned.filter(taken).with_columns(pl.lit(DATA).alias(REFUSED_AS)))
    ref = keep(context, held.case.id, "resent", pl.concat([planned.filter(~taken), new]))
    detail = {"reasons": reasons, "approved": "resend what may be billed already"}
    word = Movement(EntryKind.APPROVED, None, None, chosen.height, Decimal(0), actor=approved_by, detail=detail)
    yield word
    for kind, source, to in (
        (EntryKind.REOPENED, Bucket.QUARANTINED, Bucket.PENDING),
        (EntryKind.PLANNED, Bucket.PENDING, Bucket.PLANNED),
    ):
        yield movement(context, kind, (source, to), ref, detail={"reasons": reasons})
