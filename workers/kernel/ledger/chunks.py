"""Chunks: the records that Stripe or a target is asked about at a time, intended before it and finished after.

A submission is sent in chunks, and taken back in chunks; those of an undo carry its id.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock
from workers.kernel.errors import Conflict
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import cases, chunks, submissions

Renewed = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction that renews the lease on the case, as `HeldCase.renewed` does."""

SENDING: Final = ""
"""In the place of an undo's id: the chunk is one of the sending itself."""


@dataclass(frozen=True)
class StoredChunk:
    """What is asked for at a time: `records` rows of the record set, from row `first` on.

    `result` is the plain JSON that was answered, None while open. `withheld` tells of each record that was left out
    from the start, by identifier. `verdict` is what Stripe's import set said of the chunk's file. `file` names the
    file that it shares with other submissions; None where it has its own.
    """

    intended_at: datetime
    result: Any | None
    first: int | None
    records: int | None
    withheld: Mapping[str, Sequence[Any]] | None
    verdict: Mapping[str, Any] | None
    file: str | None = None


CHUNK_COLUMNS: Final = [chunks.c[name] for name in StoredChunk.__dataclass_fields__]


class Chunks:
    """The submission_chunks table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, submission_id: str, undo_id: str = SENDING) -> dict[int, StoredChunk]:
        """Return each chunk of a sending or of an undo that was ever intended, by number."""
        theirs = chunks.c.submission_id == submission_id, chunks.c.undo_id == undo_id
        query = select(chunks.c.number, *CHUNK_COLUMNS).where(*theirs).order_by(chunks.c.number)
        return {row["number"]: chunk_of(row) for row in self._database.rows(query)}

    def open_files(self, target: str, account: str | None) -> list[str]:
        """Return the names of files of a target that were begun and not finished, with records of an account."""
        theirs = cases.c.account.is_(None) if account is None else cases.c.account == account
        begun = chunks.c.undo_id == SENDING, chunks.c.finished_at.is_(None), chunks.c.file.is_not(None)
        query = (
            select(chunks.c.file)
            .distinct()
            .join(submissions, submissions.c.id == chunks.c.submission_id)
            .join(cases, cases.c.id == submissions.c.case_id)
            .where(*begun, submissions.c.target == target, theirs)
        )
        return list(self._database.values(query.order_by(chunks.c.file)))

    def not_begun(self, target: str, account: str | None) -> tuple[int, int]:
        """Return of how many of an account's cases records are intended and in no chunk yet, and how many."""
        begun = (
            select(chunks.c.submission_id, func.sum(chunks.c.records).label("records"))
            .where(chunks.c.undo_id == SENDING)
            .group_by(chunks.c.submission_id)
            .subquery()
        )
        left = submissions.c.records - func.coalesce(begun.c.records, 0)
        query = (
            select(func.count(submissions.c.case_id.distinct()), func.coalesce(func.sum(left), 0))
            .join(cases, cases.c.id == submissions.c.case_id)
            .outerjoin(begun, begun.c.submission_id == submissions.c.id)
            .where(
                submissions.c.target == target,
                submissions.c.state == "intended",
                cases.c.account.is_not_distinct_from(account),
                left > 0,
            )
        )
        with self._database.read() as connection:
            found, records = connection.execute(query).one()
        return int(found), int(records)

    def verdicts(self, submission_id: str) -> dict[str, Any]:
        """Return the verdicts on a submission's files, by the names under which the case's entries tell them."""
        found = self.of(submission_id).items()
        return {verdict_on(number): chunk.verdict for number, chunk in found if chunk.verdict}

    def intend(
        self,
        renewed: Renewed,
        submission_id: str,
        number: int,
        first: int,
        records: int,
        withheld: Mapping[str, Sequence[Any]],
        *,
        undo_id: str = SENDING,
        file: str | None = None,
    ) -> None:
        """Write down that Stripe or the target is about to be asked for these rows, without what is withheld.

        It is the transaction that renews the case's lease: who has lost that must not ask. Raises Conflict then,
        and where the chunk was intended meanwhile.
        """
        row = {
            "submission_id": submission_id,
            "undo_id": undo_id,
            "number": number,
            "intended_at": self._clock(),
            "first": first,
            "records": records,
            "withheld": dict(withheld),
            "file": file,
        }
        with renewed() as connection:
            insert_chunks(connection, [row])

    def finish(self, submission_id: str, number: int, result: Any, *, undo_id: str = SENDING) -> None:
        """Write down what was answered to a chunk; `result` is plain JSON."""
        mine = update(chunks).where(chunk_row(submission_id, number, undo_id))
        with self._database.write() as connection:
            connection.execute(mine.values(result=result, finished_at=self._clock()))


def insert_chunks(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write down new chunks. Raises Conflict where one is there already: no record goes in two."""
    try:
        connection.execute(insert(chunks), rows)
    except IntegrityError as error:
        raise Conflict(
            f"a chunk of {rows[0]['submission_id']} or of what goes with it was intended before"
        ) from error


def chunk_of(row: RowMapping) -> StoredChunk:
    """Build a StoredChunk from a row of the submission_chunks table."""
    return StoredChunk(**{column.name: row[column.name] for column in CHUNK_COLUMNS})


def chunk_row(submission_id: str, number: int, undo_id: str = SENDING) -> ColumnElement[bool]:
    """Return the condition that one chunk's row fulfils."""
    columns = chunks.c
    return and_(columns.submission_id == submission_id, columns.undo_id == undo_id, columns.number == number)


def verdict_on(number: int) -> str:
    """Return under which name a case's entries tell the verdict on the file of a submission's chunk."""
    return f"verdict on file {number}"
