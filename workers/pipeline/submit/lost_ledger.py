"""What a ledger that is lost may have sent: looked for in Stripe's totals before this one sends it.

A ledger that was restored from a backup does not know what was sent after the backup was made, and a new one knows
nothing, while Stripe turns a repeated identifier away for a day only. So a record is in doubt where the event that
told its last refusal

- is older than the last restore, of which `restores` has left a note, or may be: a person may give a list again; or
- came over 23 hours after Stripe had created it, and is the first that we know of the record: where nobody says
  that a ledger was restored, it takes its events in that late. A ledger that knows what it sent itself was not.

Of a record in doubt Stripe is asked what its meter has counted of the customer in the minute of the usage. Nothing
counted, and it may go. All else goes before a person, who may let it go by name, once.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from workers.kernel.clock import from_epoch, is_within
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import CaseReading
from workers.kernel.ledger.events import Origin, StoredEvent
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.reasons import PERHAPS_SENT_BEFORE, WINDOW_NOT_ASKED
from workers.pipeline.approvals import SEND_AGAIN, approved
from workers.pipeline.context import Context
from workers.pipeline.hold import STOPPED_SCHEMA, first_stopped, stop
from workers.pipeline.record_sets import FINDING, RECORD, scan
from workers.pipeline.restores import last_restore
from workers.pipeline.submit.meter_windows import Windows
from workers.pipeline.submit.window_guards import MAX_WINDOWS
from workers.records.catalog import CUSTOMER_ID, Meter
from workers.records.schema import CHANGES, EVENT_NAME, MAX_AGE, TIMESTAMP, with_columns_of
from workers.stripe_api.errors import BadRequest
from workers.targets.target import RESEND_WITHIN

_ADDING: Final = ("sum", "count")
"""Formulas whose total of a minute tells whether anything was counted in it."""

_MINUTE: Final = "@minute"
_KEYS: Final = [EVENT_NAME, CUSTOMER_ID, _MINUTE]
_REDATED: Final = pl.col(CHANGES).fill_null("").str.contains(r"\.(clamp|redate)_rule\"")
"""Another ledger may have sent it at another time, since a rule has moved it to the time of its plan."""

_COUNTED: Final = (
    "A ledger that is lost may have sent it, and Stripe counts usage of this customer in its minute: compare first."
)
_UNTOLD: Final = (
    "A ledger that is lost may have sent it, and Stripe's totals cannot tell: look it up in Stripe first."
)
_NOT_ASKED: Final = (
    f"Only {MAX_WINDOWS} minutes are asked for at a time: `metermend retry` has the next ones asked for."
)


def perhaps_sent(context: Context, held: CaseReading, windows: Windows, planned: pl.LazyFrame) -> pl.DataFrame:
    """Stop planned records that another ledger may have sent, as `guards` does.

    Pre-aggregated meters are left out: whether their windows hold a value is asked of all their records.
    """
    doubtful = _in_doubt(context, held)
    if doubtful.is_empty():
        return pl.DataFrame(schema=STOPPED_SCHEMA)
    concerned = planned.filter(~windows.concern()) if windows else planned
    asked = with_columns_of(concerned, [CHANGES]).join(doubtful.lazy(), on=RECORD, how="semi").collect()
    asked = asked.join(approved(context, held, SEND_AGAIN), on=RECORD, how="anti")
    meters = {meter.event_name: meter for meter in windows.catalog.active}
    keyed = _keyed(windows, meters, asked)
    told = keyed.drop_nulls(_KEYS)
    minutes = told.unique(_KEYS, maintain_order=True).select(_KEYS)
    return first_stopped(
        stop(keyed.join(told, on=RECORD, how="anti"), PERHAPS_SENT_BEFORE, _UNTOLD),
        stop(told.join(minutes.slice(MAX_WINDOWS), on=_KEYS), WINDOW_NOT_ASKED, _NOT_ASKED),
        *_counted(context, held.case, meters, told, minutes.head(MAX_WINDOWS)),
    )


def _in_doubt(context: Context, held: CaseReading) -> pl.DataFrame:
    """Return the numbers of records whose last refusal is in doubt."""
    told = [e for e in held.journal if e.kind in (*FINDING, EntryKind.REFUSED) and e.ref]
    restored = last_restore(context)
    doubts = [_is_in_doubt(context, entry, restored) for entry in told]
    found = pl.DataFrame(schema={RECORD: pl.Int64})
    if not any(doubts):
        return found
    for entry, doubt in zip(told, doubts, strict=True):
        assert entry.ref is not None
        named = scan(context, entry.ref).select(RECORD).collect()
        found = pl.concat([found.join(named, on=RECORD, how="anti"), named.head(named.height if doubt else 0)])
    return found


def _is_in_doubt(context: Context, entry: EntryRow, restored: datetime | None) -> bool:
    """Whether another ledger may have acted on what an entry tells; an answer to our own call has no event."""
    event = context.ledger.events.get(entry.event_id) if entry.event_id else None
    created = (event.created_at or event.received_at) if event else entry.at
    if restored is not None and (created < restored or _is_undated(context, event, restored)):
        return True
    came_late = event is not None and not is_within(created, RESEND_WITHIN, event.received_at)
    return came_late and entry.kind in FINDING


def _is_undated(context: Context, event: StoredEvent | None, restored: datetime) -> bool:
    """Whether it is a list that a person gives, perhaps not for the first time: no time stands in it."""
    return event is not None and event.origin is Origin.GIVEN and is_within(restored, MAX_AGE, context.clock())


def _keyed(windows: Windows, meters: dict[str, Meter], asked: pl.DataFrame) -> pl.DataFrame:
    """Add what names a record's minute; null where Stripe's totals of it would not tell."""
    adding = [name for name, meter in meters.items() if meter.formula in _ADDING]
    seconds = pl.col(TIMESTAMP).cast(pl.Int64, strict=False)
    tells = pl.col(EVENT_NAME).is_in(adding) & ~_REDATED
    resolved = windows.catalog.resolve(asked)
    return resolved.with_columns(pl.when(tells).then(seconds - seconds % 60).alias(_MINUTE)).select(RECORD, *_KEYS)


def _counted(
    context: Context, case: Case, meters: dict[str, Meter], told: pl.DataFrame, minutes: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    for minute in minutes.iter_rows(named=True):
        advice = _advice(context, case, meters[minute[EVENT_NAME]], minute)
        if advice is not None:
            there = told.join(pl.DataFrame([minute], schema=minutes.schema), on=_KEYS)
            yield stop(there, PERHAPS_SENT_BEFORE, advice)


def _advice(context: Context, case: Case, meter: Meter, minute: dict[str, Any]) -> str | None:
    """Return what stands against sending usage of a minute; None where Stripe has counted nothing in it.

    A range in which nothing was used may be listed with a total of 0 (Stripe docs, "List billing meter event
    summaries").
    """
    start = from_epoch(minute[_MINUTE])
    try:
        totals = context.stripe.event_summaries(
            meter.id, minute[CUSTOMER_ID], start, start + timedelta(minutes=1), case.failure.account
        )
    except BadRequest:
        return _UNTOLD
    return _COUNTED if any(total.value for total in totals) else None
