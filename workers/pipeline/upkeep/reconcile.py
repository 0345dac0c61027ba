"""Comparing Stripe's own lists of events with the ledger, and taking in what never arrived.

For our own account and every connected account that the ledger knows, and for both kinds of list:

1. Start a margin before where the last look ended, since Stripe promises no order. Where it ended is told in
   Stripe's own time: ours, if it is ahead for a moment, would hide what Stripe creates until then.
2. Record what the ledger does not hold, a batch a time, oldest first, and hint the queue at what was new.
3. Note after each batch how far it came, so that a look that breaks off goes on from there.

An event that arrives by both ways is recorded once: its id is the key. Source: Stripe docs, "Process undelivered
webhook events" and "Event destinations" (both lists reach back 30 days).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from workers.kernel.clock import from_text, to_text
from workers.kernel.codes import EventType
from workers.kernel.errors import MalformedBody, Permanent, Transient
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger.events import NewEvent, Origin
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context
from workers.pipeline.restores import RESTORES
from workers.stripe_api import Json

log = get_logger(__name__)

REACH: Final = timedelta(days=30)
OVERLAP: Final = timedelta(hours=1)
BATCH: Final = 100

SNAPSHOT: Final = "snapshot"
_TYPES: Final[Mapping[str, Sequence[str]]] = {
    SNAPSHOT: (EventType.IMPORT_SET_FAILED, EventType.IMPORT_SET_SUCCEEDED),
    "thin": (EventType.ERROR_REPORT_TRIGGERED, EventType.NO_METER_FOUND),
}
"""Kind of payload -> the types that come with it; Stripe lists each kind by itself."""


@dataclass(frozen=True)
class Look:
    """One list of one account, as far as it was compared.

    `listed` events were seen, `recorded` of them were new to us; `trouble` tells why the look broke off.
    """

    account: str | None
    kind: str
    since: datetime
    listed: int = 0
    recorded: int = 0
    trouble: str | None = None


def reconcile(context: Context, since: datetime | None = None) -> Iterator[Look]:
    """Compare every list with the ledger and yield what came of each; one that fails leaves the others their turn.

    Without `since` a look goes on where the last one ended, or goes back 30 days. With it, it starts there and
    moves no checkpoint, so that a later look leaves no gap. Raises LedgerUnavailable.
    """
    for account in _accounts(context):
        for kind in _TYPES:
            yield _look(context, account, kind, since)


def start_from_now(context: Context) -> None:
    """Let the first look at an account begin with its first event that we know of, instead of 30 days ago.

    What was refused before may have been mended by hand since; only a person's `--since` takes that in.
    """
    for account in _accounts(context):
        first = context.ledger.queries.earliest_event(account) or _now(context)
        for kind in _TYPES:
            if context.ledger.checkpoints.get(_checkpoint(account, kind)) is None:
                context.ledger.checkpoints.save(_checkpoint(account, kind), to_text(first))


def _accounts(context: Context) -> list[str | None]:
    """Return our own account, as None, and every connected one; asking for its name tells Stripe's time as well."""
    own = context.stripe.own_account()
    return [None, *(account for account in context.ledger.queries.accounts() if account != own)]


def _now(context: Context) -> datetime:
    """Return the present, never later than Stripe's own time where that is known."""
    return min(context.clock(), context.stripe.told_time() or context.clock())


def _look(context: Context, account: str | None, kind: str, since: datetime | None) -> Look:
    begun, name = context.stripe.told_time(), _checkpoint(account, kind)
    look = Look(account, kind, since or _resumed(context, name, account))
    listed = context.stripe.snapshot_events if kind == SNAPSHOT else context.stripe.thin_events
    try:
        events = listed(_TYPES[kind], look.since, account)
        while batch := list(islice(events, BATCH)):
            receipts = [receipt for event in batch if (receipt := _receipt(context, event, account))]
            new = _record(context, receipts)
            look = replace(look, listed=look.listed + len(batch), recorded=look.recorded + new)
            reached = max((r.created_at for r in receipts if r.created_at), default=None)
            if since is None and reached is not None:
                context.ledger.checkpoints.save(name, to_text(reached))
    except (Transient, Permanent) as error:
        return replace(look, trouble=str(error))
    if since is None and begun is not None:
        context.ledger.checkpoints.save(name, to_text(min(begun, context.clock())))
    return look


def _resumed(context: Context, name: str, account: str | None) -> datetime:
    """Return from when on to look: 30 days ago, or a margin before where the last look ended.

    Where that lies ahead of the present, a wrong clock has written it: then everything since the account's first
    event is compared again.
    """
    now, saved = _now(context), context.ledger.checkpoints.get(name)
    reached = from_text(saved) if saved else now - REACH
    if reached > now + OVERLAP:
        first = context.ledger.queries.earliest_event(account)
        reached = first if first and first <= now else now - REACH
    return max(reached - OVERLAP, now - REACH)


def _receipt(context: Context, event: Json, account: str | None) -> NewEvent | None:
    """Return a listed event's receipt; one without an id or a type is logged, since it cannot be kept."""
    # The lists' own numbers are whole; a fraction that Stripe may add one day is kept as text.
    raw = json.dumps(event, ensure_ascii=False, default=str).encode()
    try:
        receipt = read_envelope(raw, livemode=context.settings.livemode)
    except MalformedBody:
        log.warning("listed_event_unreadable", account=account)
        return None
    return replace(receipt, account=receipt.account or account, origin=Origin.RECONCILED)


def _record(context: Context, receipts: list[NewEvent]) -> int:
    """Store what the ledger does not hold and hint at it; return how many were new."""
    known = context.ledger.events.known([receipt.id for receipt in receipts])
    new = [r for r in receipts if r.id not in known and context.ledger.events.record(r)]
    for receipt in new:
        log.info("event_reconciled", event_id=receipt.id, type=receipt.type, account=receipt.account)
    try:
        for receipt in new:
            if not receipt.ignored:
                context.queue.enqueue_new([receipt.id], large=receipt.large)
    except Transient as error:  # the rows are there: the sweeper hints at them later
        log.warning("enqueue_failed", error=str(error))
    return len(new)


def _checkpoint(account: str | None, kind: str) -> str:
    return f"reconcile:{kind}:{account or ''}"


def lost_since(context: Context) -> datetime:
    """Return since when events may be missing: what an earlier restore has lost, too, if Stripe still lists it.

    The look after that one may have broken off, and its note is newer than the events.
    """
    noted = context.ledger.checkpoints.get(RESTORES) or []
    now = context.clock()
    return max(min((from_text(since) for since, _ in noted), default=now), now - REACH)
