"""Records that Stripe counts and does not name, whose rows have not been found: they have no row to show."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.queries import EntryRow

_BY_HAND: Final = (Bucket.CORRECTED, Bucket.WRITTEN_OFF)


def unlocated(entries: Sequence[EntryRow]) -> Counter[str]:
    """Return how many quarantined records the journal only counts, by reason: their rows have not been found."""
    counts: Counter[str] = Counter()
    for entry in entries:
        if entry.kind == EntryKind.LOCATED:
            counts.subtract(entry.detail["reasons"])
        elif entry.to_bucket == Bucket.QUARANTINED and entry.record_set is None:
            counts.update(entry.detail.get("reasons", {}))
        elif entry.from_bucket == Bucket.QUARANTINED and entry.record_set is None:
            counts.subtract(entry.detail.get("reasons", {}))
    return +counts


def settled_by_count(entries: Sequence[EntryRow]) -> int:
    """Return how many records people have settled that the journal only counts, less what they took back."""
    counted = [entry for entry in entries if entry.record_set is None]
    into = sum(entry.records for entry in counted if entry.to_bucket in _BY_HAND)
    return into - sum(entry.records for entry in counted if entry.from_bucket in _BY_HAND)
