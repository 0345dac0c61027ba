"""Records that wait for a customer or a meter: planned anew when an event tells that it has come, else by asking.

What a case waits for is entered as its records are planned (`awaited`). `reopen` takes up those that wait for a
name. An event may never arrive, so `look` asks Stripe too: for a customer once a day, for a meter once an hour, and
first an hour after the plan, since no event tells what came while it was made. A look that finds nothing writes
nothing into the journal. Other rules take records up as well, and so does the end of the 35 days in which Stripe
takes them.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from workers.kernel.awaited_names import CUSTOMER, METER
from workers.kernel.clock import from_epoch
from workers.kernel.ledger.awaited import Awaited
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import WAITING, Bucket, EntryKind, Movement
from workers.pipeline.context import Context
from workers.pipeline.record_sets import as_before_plan, keep, movement, reasons_of, records_in
from workers.records import timestamps
from workers.records.schema import AWAITS, MAX_AGE, TIMESTAMP, with_columns_of
from workers.stripe_api.protocol import existing

FIRST_LOOK: Final = timedelta(hours=1)
_EVERY: Final = {CUSTOMER: timedelta(days=1), METER: timedelta(hours=1)}
_UNTIL: Final = "until"


def awaited(context: Context, decided: pl.LazyFrame, as_of: datetime) -> list[Awaited]:
    """Return what decided records wait for; a record that is too old to bill waits for nothing."""
    now, age = int(as_of.timestamp()), int(MAX_AGE.total_seconds())
    newest = timestamps.epoch_seconds(pl.col(TIMESTAMP)).fill_null(now).clip(upper_bound=now)
    waiting = decided.filter(pl.col(AWAITS).is_not_null(), newest > now - age)
    until = waiting.group_by(AWAITS).agg((newest + age).min().alias(_UNTIL)).sort(AWAITS).collect()
    return [
        Awaited(name, context.rules_in_force.digest, as_of + FIRST_LOOK, from_epoch(seconds))
        for name, seconds in until.iter_rows()
    ]


def next_wake(context: Context, held: HeldCase) -> datetime | None:
    """Return when to look for what the case waits for; None when it waits for nothing."""
    if not any(held.case.balance[bucket].records for bucket in WAITING):
        return None
    now, rules = context.clock(), context.rules_in_force.digest
    return min((one.look_at if one.rules == rules else now for one in held.awaited), default=None)


def look(context: Context, held: HeldCase) -> None:
    """Ask Stripe for the names that are due, and reopen what need not wait, or not as it did, any longer."""
    now, rules = context.clock(), context.rules_in_force.digest
    due = [one for one in held.awaited if one.look_at <= now or one.rules != rules]
    changed = {one.name for one in due if one.rules != rules or one.until <= now}
    asked = [one for one in due if one.name not in changed]
    come = _come(context, held.case.failure.account, [one.name for one in asked])
    later = [replace(one, look_at=now + _EVERY[_kind(one.name)]) for one in asked if one.name not in come]
    reopen(context, held, changed | come, later=later)


def reopen(
    context: Context,
    held: HeldCase,
    names: Collection[str],
    *,
    event_id: str | None = None,
    later: Collection[Awaited] = (),
) -> None:
    """Take records that wait for these names back to pending; the case waits for the names no longer.

    `event_id` is the event that told of it, `later` what the case goes on waiting for.
    """
    moves = list(_moves(context, held, names, event_id)) if names else []
    with held.transaction() as transaction:
        transaction.move(*moves)
        transaction.awaited.remove(names)
        transaction.awaited.add(later)
        transaction.reschedule(context.clock())


def _moves(context: Context, held: HeldCase, names: Iterable[str], event_id: str | None) -> Iterator[Movement]:
    for bucket in WAITING:
        there = records_in(context, held.journal, bucket)
        if there is None:
            continue
        waiting = with_columns_of(there, [AWAITS]).filter(pl.col(AWAITS).is_in(list(names)))
        reasons = reasons_of(waiting)
        if reasons:
            ref = keep(context, held.case.id, "reopened", as_before_plan(context, held.journal, waiting))
            route, detail = (bucket, Bucket.PENDING), {"reasons": reasons}
            yield movement(context, EntryKind.REOPENED, route, ref, event_id=event_id, detail=detail)


def _come(context: Context, account: str | None, names: Collection[str]) -> set[str]:
    """Return those of the names that are there by now."""
    customers = [name.removeprefix(CUSTOMER) for name in names if name.startswith(CUSTOMER)]
    meters = any(name.startswith(METER) for name in names)
    there = existing(context.stripe.find_customers(customers, account)) if customers else {}
    listed = context.stripe.list_meters(account) if meters else []
    active = {METER + str(meter.get("event_name")) for meter in listed if meter.get("status") == "active"}
    return {CUSTOMER + name for name in there} | active.intersection(names)


def _kind(name: str) -> str:
    return CUSTOMER if name.startswith(CUSTOMER) else METER
