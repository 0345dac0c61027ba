"""Whether the bodies of Stripe's events are still those that were received, or were removed by retention."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256

from workers.kernel.clock import from_text
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import StoredEvent
from workers.kernel.ledger.ledger import BODIES_REMOVED


def damaged(ledger: Ledger, events: Sequence[StoredEvent]) -> Iterator[tuple[StoredEvent, str]]:
    """Yield the events of which the body was altered or is missing, and what is wrong with it.

    `events` were read before: retention says how far it goes before it removes anything.
    """
    said = ledger.checkpoints.get(BODIES_REMOVED)
    removed_before = from_text(said) if said else None
    for event in events:
        if event.raw is None and not _removed(event, removed_before):
            yield event, "the body is missing, and retention has not come to it"
        elif event.raw is not None and sha256(event.raw).hexdigest() != event.sha256:
            yield event, "the body was altered"


def _removed(event: StoredEvent, removed_before: datetime | None) -> bool:
    return removed_before is not None and event.received_at < removed_before
