"""Records that were sent and whose arrival has not shown by the deadline: in flight, and never called recovered."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import case, func, select

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import SubmissionState
from workers.kernel.ledger.tables import entries as entry_rows
from workers.kernel.ledger.tables import submissions

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


def unconfirmed_records(database: Database) -> int:
    """Return how many records of all cases stand in submissions whose deadline has passed."""
    entry, noted = entry_rows.c, entry_rows.alias().c
    said = select(noted.number).where(
        noted.case_id == submissions.c.case_id,
        noted.submission_id == submissions.c.id,
        noted.kind == EntryKind.NOTED,
        noted.detail[UNCONFIRMED].as_string().is_not(None),
    )
    left = case(
        (entry.to_bucket == Bucket.SUBMITTED, entry.records),
        (entry.from_bucket == Bucket.SUBMITTED, -entry.records),
        else_=0,
    )
    query = (
        select(func.coalesce(func.sum(left), 0))
        .join(submissions, (submissions.c.case_id == entry.case_id) & (submissions.c.id == entry.submission_id))
        .where(submissions.c.state == SubmissionState.SENT, said.exists())
    )
    return int(database.values(query)[0])
