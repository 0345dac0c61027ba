"""A ledger that was restored from a backup: what it cannot know is written down before anybody works with it.

What happened between the backup and the restore stands in no ledger. Events of that time are asked of Stripe again
(`reconcile`), and whatever was refused before the restore and is sent after it is looked for in Stripe's totals
first (`lost_ledger`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from workers.kernel.clock import from_text, to_text
from workers.kernel.ledger import Ledger
from workers.pipeline.context import Context

RESTORES: Final = "restores"
"""The checkpoint that lists every restore as [the newest moment that the ledger knew, when it was restored]."""


@dataclass(frozen=True)
class Restore:
    """A time of which the ledger knows nothing."""

    since: datetime
    until: datetime


def note_restore(ledger: Ledger, now: datetime) -> Restore:
    """Write down that a ledger was restored just now, and return the time that it has lost."""
    restore = Restore(min(ledger.queries.newest_moment() or now, now), now)
    noted = ledger.checkpoints.get(RESTORES) or []
    ledger.checkpoints.save(RESTORES, [*noted, [to_text(restore.since), to_text(restore.until)]])
    return restore


def last_restore(context: Context) -> datetime | None:
    """Return when the ledger was restored last; None when it never was."""
    noted = context.ledger.checkpoints.get(RESTORES) or []
    return max((from_text(until) for _, until in noted), default=None)
