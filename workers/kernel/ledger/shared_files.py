"""Files that carry the records of many submissions: small ones that wait for their turn go out together.

Each member has a chunk with the file's name, and the file follows from these chunks alone. The submission whose
turn it is writes the chunks of all members in one transaction; it gives the file its name, and alone writes it. Its
own case is the only one that is held: one that nobody holds, and that is as it was looked at, may join.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, select, update

from workers.kernel.clock import Clock
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.chunks import CHUNK_COLUMNS, SENDING, Renewed, StoredChunk, chunk_of, insert_chunks
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.leases import is_over
from workers.kernel.ledger.submissions import (
    REFUSED_WHOLE,
    SUBMISSION_COLUMNS,
    Submission,
    SubmissionState,
    submission_of,
)
from workers.kernel.ledger.tables import cases, chunks, submissions


@dataclass(frozen=True)
class Share:
    """What a submission is to bring into a file: all its records but those `withheld`, told of by identifier.

    `version` is that of its case when this was decided.
    """

    submission: Submission
    version: int
    withheld: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Member:
    """A submission in a shared file, and the chunk that says so."""

    submission: Submission
    chunk: StoredChunk


class SharedFiles:
    """The chunks that name a file."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def waiting(
        self, first: Submission, failure: Failure, lease: timedelta, *, most_records: int, limit: int
    ) -> list[Submission]:
        """Return submissions that may go in a file with `first`, the longest waiting first.

        They are of its account, mode and target, have `most_records` at most and wait as it does. What was in a
        file that Stripe refused as a whole goes by itself, so that it takes no others with it a second time.
        """
        account = cases.c.account.is_(None) if failure.account is None else cases.c.account == failure.account
        others = submissions.alias()
        refused = exists().where(others.c.case_id == submissions.c.case_id, others.c.verdict == REFUSED_WHOLE)
        like = submissions.c.target == first.target, account, cases.c.livemode == failure.livemode
        query = (
            select(*SUBMISSION_COLUMNS)
            .join(cases, cases.c.id == submissions.c.case_id)
            .where(*like, submissions.c.id != first.id, submissions.c.records <= most_records, ~refused)
            .where(self._are_free(lease))
            .order_by(submissions.c.intended_at, submissions.c.id)
            .limit(limit)
        )
        return list(map(submission_of, self._database.rows(query)))

    def begin(self, renewed: Renewed, file: str, first: Share, others: Sequence[Share], lease: timedelta) -> None:
        """Write down that a file is about to be written, with those of the others that are still free.

        It is the transaction that renews the lease on the first's case. Raises Conflict when that was lost, or when
        a chunk of a member was intended meanwhile.
        """
        asked = submissions.c.id.in_([one.submission.id for one in others])
        free = (
            select(submissions.c.id, cases.c.version)
            .join(cases, cases.c.id == submissions.c.case_id)
            .where(asked, self._are_free(lease))
            .with_for_update(of=cases, skip_locked=True)  # whoever is about to take one of them waits or has it
        )
        with renewed() as connection:
            found = {row.id: row.version for row in connection.execute(free)}
            joined = [one for one in others if found.get(one.submission.id) == one.version]
            insert_chunks(connection, [self._chunk(file, one) for one in (first, *joined)])

    def members(self, file: str) -> list[Member]:
        """Return who shares a file, in the order in which it carries their records."""
        query = select(chunks.c.submission_id, *CHUNK_COLUMNS).where(chunks.c.file == file)
        theirs = {row["submission_id"]: chunk_of(row) for row in self._database.rows(query)}
        found = select(*SUBMISSION_COLUMNS).where(submissions.c.id.in_(theirs)).order_by(submissions.c.id)
        return [Member(one, theirs[one.id]) for one in map(submission_of, self._database.rows(found))]

    def mates(self, submission_ids: Sequence[str]) -> list[Submission]:
        """Return the submissions that share a file with one of these, themselves among them."""
        if not submission_ids:
            return []
        files = select(chunks.c.file).where(chunks.c.submission_id.in_(submission_ids), chunks.c.file.is_not(None))
        sharing = select(chunks.c.submission_id).where(chunks.c.file.in_(files))
        query = select(*SUBMISSION_COLUMNS).where(submissions.c.id.in_(sharing)).order_by(submissions.c.id)
        return list(map(submission_of, self._database.rows(query)))

    def finish(self, file: str, result: Any) -> None:
        """Write down what became of a file, for all its members, and let those be due that wait for it."""
        members = select(submissions.c.case_id).join(chunks, chunks.c.submission_id == submissions.c.id)
        theirs, now = members.where(chunks.c.file == file), self._clock()
        waiting = update(cases).where(cases.c.id.in_(theirs), cases.c.due_at > now)
        with self._database.write() as connection:
            connection.execute(update(chunks).where(chunks.c.file == file).values(result=result, finished_at=now))
            connection.execute(waiting.values(due_at=now))

    def _are_free(self, lease: timedelta) -> ColumnElement[bool]:
        """Tell of submissions with their cases whether they wait, begun nowhere, and nobody works on them.

        A case that is never due again was left to a person.
        """
        begun = exists().where(chunks.c.submission_id == submissions.c.id, chunks.c.undo_id == SENDING)
        intended = submissions.c.state == SubmissionState.INTENDED
        unheld = is_over(cases, "lease_until", self._clock(), lease)
        return and_(intended, ~begun, cases.c.due_at.is_not(None), unheld)

    def _chunk(self, file: str, share: Share) -> dict[str, Any]:
        return {
            "submission_id": share.submission.id,
            "undo_id": SENDING,
            "number": 1,
            "intended_at": self._clock(),
            "first": 0,
            "records": share.submission.records,
            "withheld": dict(share.withheld),
            "file": file,
        }
