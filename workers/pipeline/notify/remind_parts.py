"""Once a day: what waits for a part in Stripe's Dashboard, and a part that somebody has had for long."""

from datetime import timedelta
from typing import Final

from workers.alerts import NextStep
from workers.kernel.clock import from_text, is_within, to_text
from workers.kernel.counting import counted
from workers.kernel.ledger import parts
from workers.kernel.places import DASHBOARD
from workers.pipeline.context import Context
from workers.pipeline.notify.remind import left
from workers.pipeline.notify.troubles import trouble

DAILY: Final = timedelta(days=1)
LONG_OUT: Final = timedelta(hours=4)
"""How long somebody has a part before he is asked what became of it."""
_STEP: Final = NextStep("See to it on the page Parts.", "metermend parts")


def remind_of_parts(context: Context) -> None:
    """Have people told of each account whose usage they upload, at most once a day. Raises LedgerUnavailable."""
    for account in (None, *context.account_targets):
        target = context.target_of(account)
        said = _of_parts(context, account) if target and target.name == DASHBOARD else None
        name, now = f"parts_told:{account or ''}", context.clock()
        told = context.ledger.checkpoints.get(name) if said else None
        if said and not (told and is_within(from_text(told), DAILY, now)):
            trouble(context, account or DASHBOARD, *said, _STEP)
            context.ledger.checkpoints.save(name, to_text(now))


def _of_parts(context: Context, account: str | None) -> tuple[str, str] | None:
    """Return what is to be said of an account's parts, None where nothing is."""
    taken = parts.out(context.ledger, account)
    if taken is not None:
        out, part = context.clock() - taken.asked_at, (taken.outcome or {}).get("part", "it")
        held = f"{taken.actor} has had {part} for {left(out)}; its records are in flight until somebody says."
        return ("nobody has said what became of a part", held) if out >= LONG_OUT else None
    cases, records = parts.waiting(context.ledger, account)
    if not records:
        return None
    waits = f"{counted(records, 'record')} of {counted(cases, 'case')}; what waits over a day is not sent unasked."
    return "corrected usage waits to be uploaded in the Dashboard", waits
