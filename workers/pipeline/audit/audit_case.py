"""The case of a difference between Stripe's totals and the sender's records: only a person may resolve it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from workers.kernel.clock import to_text
from workers.kernel.ledger.by_code import BY_CODE, detail_of
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.journal import Bucket, EntryKind, Movement, Tally
from workers.kernel.reasons import MISSING_IN_TOTALS, SURPLUS_IN_TOTALS
from workers.pipeline.audit.totals_check import Compared, Verdict
from workers.pipeline.case_key import AUDIT
from workers.pipeline.context import Context
from workers.pipeline.totals.stripe_totals import midnight
from workers.records.quantities import to_text as decimal_text

_FOUND: Final = "audit"
"""Where an entry's detail has what was compared."""
_REASONS: Final = {Verdict.MISSING: MISSING_IN_TOTALS, Verdict.SURPLUS: SURPLUS_IN_TOTALS}


def write_down(context: Context, account: str | None, compared: Compared) -> str | None:
    """Open the case of a difference, or note in it what is found now; return its id where there is a difference.

    A day that has no case and no difference needs none; nor does one of which nothing can be told. Raises Conflict
    while a worker holds the case.
    """
    failure = _failure(context, account, compared)
    if compared.verdict is Verdict.NOT_COMPARABLE:
        return None
    differs = compared.verdict is not Verdict.EQUAL
    case = context.ledger.cases.get(failure.case_id)
    if case is None and not differs:
        return None
    with context.ledger.cases.hold(failure, context.owner, context.lease) as held:
        if _last_found(entry.detail for entry in held.journal) != _found(compared):
            new = not held.case.balance.failed.records
            moves = list(_opening(compared)) if new else [_noted(compared)]
            with held.transaction(last=True) as transaction:
                transaction.move(*moves)
                transaction.reschedule(context.clock())
    return failure.case_id if differs else None


def _failure(context: Context, account: str | None, compared: Compared) -> Failure:
    meter, day = compared.meter, compared.day
    start = midnight(day)
    return Failure(
        key=f"{AUDIT}:{account or ''}:{meter.id}:{compared.customer}:{day}",
        kind=AUDIT,
        livemode=bool(context.settings.livemode),
        account=account,
        summary=f"Stripe's total of {compared.customer} for {meter.event_name} on {day} differs",
        code=AUDIT,
        meter_id=meter.id,
        event_name=meter.event_name,
        window_start=to_text(start),
        window_end=to_text(start + timedelta(days=1)),
    )


def _found(compared: Compared) -> dict[str, Any]:
    """Return what was compared as an entry tells it; the journal's own quantity stays 0, since it has no rows."""
    told = compared.as_json()
    return {name: told[name] for name in ("verdict", "stripe", "own")}


def _last_found(details: Iterator[Mapping[str, Any]]) -> Any:
    found = [detail[_FOUND] for detail in details if _FOUND in detail]
    return found[-1] if found else None


def _opening(compared: Compared) -> Iterator[Movement]:
    """Yield the entries that put the difference before a person, as one record whose rows nobody has shown."""
    reason = _REASONS[compared.verdict]
    counted = {"reasons": {reason: 1}, BY_CODE: detail_of({AUDIT: Tally(1)})}
    told = {**counted, "suggestions": {reason: sentence_of(compared)}, _FOUND: _found(compared)}
    yield Movement(EntryKind.SEEN, None, Bucket.PENDING, 1, Decimal(0), detail=counted)
    yield Movement(EntryKind.QUARANTINED, Bucket.PENDING, Bucket.QUARANTINED, 1, Decimal(0), detail=told)


def _noted(compared: Compared) -> Movement:
    reason = _REASONS.get(compared.verdict)
    said = {"suggestions": {reason: sentence_of(compared)}} if reason else {"note": sentence_of(compared)}
    return Movement(EntryKind.NOTED, None, None, 0, Decimal(0), detail={**said, _FOUND: _found(compared)})


def sentence_of(compared: Compared) -> str:
    """Return what was found of a day that can be compared, for a person."""
    assert compared.stripe is not None
    assert compared.own is not None
    stripe, own = decimal_text(compared.stripe), decimal_text(compared.own)
    if compared.verdict is Verdict.EQUAL:
        return f"Stripe has {stripe} by now, as the records come to."
    amount, more = decimal_text(abs(compared.difference)), "more" if compared.difference > 0 else "less"
    return f"Stripe has {stripe}, the records come to {own}: {amount} {more}. {compared.why}"
