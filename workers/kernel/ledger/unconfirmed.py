"""Records that were sent and whose arrival has not shown by the deadline: in flight, and never called recovered."""

from collections.abc import Sequence
from typing import Final

from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.queries import EntryRow

UNCONFIRMED: Final = "unconfirmed"
"""In an entry's detail: what of the submission has not shown in Stripe's totals."""

RELEASED: Final = "released"
"""In an entry's detail: the act by which somebody lets unconfirmed records go once more."""


def is_noted(entries: Sequence[EntryRow], submission_id: str) -> bool:
    """Tell whether the journal says of a submission that its deadline has passed."""
    return any(e.submission_id == submission_id and UNCONFIRMED in e.detail for e in entries)


def unconfirmed(entries: Sequence[EntryRow]) -> int:
    """Return how many records of a case stand in submissions whose deadline has passed."""
    overdue = {e.submission_id for e in entries if e.kind == EntryKind.NOTED and UNCONFIRMED in e.detail}
    theirs = [entry for entry in entries if entry.submission_id in overdue]
    sent = sum(entry.records for entry in theirs if entry.to_bucket == Bucket.SUBMITTED)
    return sent - sum(entry.records for entry in theirs if entry.from_bucket == Bucket.SUBMITTED)
