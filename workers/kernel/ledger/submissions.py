"""Submissions: corrected records on their way to a target, and what became of them.

intended -> sent -> confirmed | settled. The row is written before anything is sent; its id, and with it the key of
the file or of the API call, follows from case and revision, so that a second try is the same submission.

The submissions of an account take turns: each has the next number, and of two that want the same one the table's
key lets one have it. So whoever intends knows that nothing was intended since he looked, and no lock stays behind.
One whose records are written anew, without a customer that is forgotten, takes another turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.errors import Conflict, Overtaken
from workers.kernel.ledger.chunks import chunk_row, verdict_on
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.hash_chain import plain
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.ledger.tables import cases, chunks, submission_turns, submissions
from workers.kernel.places import is_at_stripe


class SubmissionState(StrEnum):
    """intended (nothing may have left yet) -> sent (the target has it) -> settled (every record is decided)."""

    INTENDED = "intended"
    SENT = "sent"
    SETTLED = "settled"


_PAGE: Final = 1000
"""Ids in one question; databases bound them."""

REFUSED_WHOLE: Final = "failed"
"""Stripe's verdict on a file that it refused as a whole."""


@dataclass(frozen=True)
class Submission:
    """One set of corrected records for one target."""

    id: str
    case_id: str
    revision: int
    target: str
    location: str | None
    state: SubmissionState
    records: int
    quantity: Decimal
    event_names: tuple[str, ...]
    record_set: str
    record_set_sha256: str
    import_set_id: str | None
    verdict: str | None
    intended_at: datetime
    sent_at: datetime | None
    confirm_at: datetime | None

    @property
    def ref(self) -> RecordSetRef:
        return RecordSetRef(self.record_set, self.record_set_sha256)

    @property
    def is_at_stripe(self) -> bool:
        """Whether it went to Stripe's meters; what went elsewhere shows in none of their totals."""
        return is_at_stripe(self.target)

    @property
    def was_refused_whole(self) -> bool:
        """Whether Stripe has refused a file of it as a whole."""
        return self.verdict == REFUSED_WHOLE


@dataclass(frozen=True)
class Intent:
    """A submission that is about to be made. `event_names` are those that its records carry."""

    id: str
    revision: int
    target: str
    records: int
    quantity: Decimal
    event_names: tuple[str, ...]
    record_set: RecordSetRef


SUBMISSION_COLUMNS: Final = [submissions.c[name] for name in Submission.__dataclass_fields__]


class CaseSubmissions:
    """The submissions of one case, written in the case's transaction."""

    def __init__(self, connection: Connection, case_id: str, account: str | None, now: datetime) -> None:
        self._connection = connection
        self._case_id = case_id
        self._account = account
        self._now = now
        self.told: dict[str, dict[str, Any]] = {}
        """What was written of each submission, by column: the case's entries cover it."""

    def intend(self, intent: Intent, last_turn: int) -> None:
        """Write down what is about to be sent, in the turn of the account after the last that was seen.

        Raises Overtaken when another submission of the account has taken that turn.
        """
        row = {
            "id": intent.id,
            "case_id": self._case_id,
            "revision": intent.revision,
            "target": intent.target,
            "state": SubmissionState.INTENDED,
            "records": intent.records,
            "quantity": intent.quantity,
            "event_names": list(intent.event_names),
            "record_set": intent.record_set.name,
            "record_set_sha256": intent.record_set.sha256,
            "intended_at": self._now,
        }
        self._connection.execute(insert(submissions).values(row))
        self._tell(intent.id, row)
        self._take_turn(intent.id, last_turn + 1)

    def take_turns_again(self) -> None:
        """Give each submission of the case a turn more: whoever knows what they carry has to read them anew.

        Raises Overtaken when another submission of the account takes one of these turns.
        """
        last = self._connection.scalar(last_turn_of(self._account)) or 0
        mine = select(submissions.c.id).where(submissions.c.case_id == self._case_id).order_by(submissions.c.id)
        for number, submission_id in enumerate(self._connection.scalars(mine).all(), last + 1):
            self._take_turn(submission_id, number)

    def _take_turn(self, submission_id: str, number: int) -> None:
        row = {"account": _account_key(self._account), "number": number, "submission_id": submission_id}
        try:
            self._connection.execute(insert(submission_turns).values(row))
        except IntegrityError as error:
            raise Overtaken(f"another submission has taken turn {number} of its account") from error

    def sent(self, submission_id: str, location: str, confirm_at: datetime) -> None:
        """Note that the target has it. Raises Conflict unless it was intended."""
        values = {"location": location, "sent_at": self._now, "confirm_at": confirm_at}
        self._change(submission_id, SubmissionState.INTENDED, SubmissionState.SENT, values)

    def wait_until(self, submission_id: str, confirm_at: datetime) -> None:
        """Let its window end at another time."""
        values = {"confirm_at": confirm_at}
        self._change(submission_id, SubmissionState.SENT, SubmissionState.SENT, values)

    def judged(
        self, submission_id: str, number: int, import_set_id: str, verdict: str, said: Mapping[str, Any] | None
    ) -> None:
        """Note the import set's verdict on a file of ours, that of chunk `number`.

        `said` is plain JSON; None leaves what was said of the file before. It may come before our own answer is
        written down.
        """
        row = {"import_set_id": import_set_id, "verdict": verdict}
        self._connection.execute(update(submissions).where(submissions.c.id == submission_id).values(row))
        self._tell(submission_id, row)
        if said is not None:
            chunk = chunk_row(submission_id, number)
            if self._connection.execute(update(chunks).where(chunk).values(verdict=dict(said))).rowcount:
                self._tell(submission_id, {verdict_on(number): dict(said)})

    def settled(self, submission_id: str) -> None:
        """Note that every record of it is confirmed, refused or held."""
        self._change(submission_id, SubmissionState.SENT, SubmissionState.SETTLED, {})

    def _change(
        self, submission_id: str, before: SubmissionState, after: SubmissionState, values: dict[str, Any]
    ) -> None:
        row = {"state": after, **values}
        mine = update(submissions).where(submissions.c.id == submission_id, submissions.c.state == before)
        if self._connection.execute(mine.values(row)).rowcount != 1:
            raise Conflict(f"{submission_id} is not {before}")
        self._tell(submission_id, row)

    def _tell(self, submission_id: str, values: Mapping[str, Any]) -> None:
        self.told.setdefault(submission_id, {}).update(plain(values))


class Submissions:
    """Reading submissions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, submission_id: str) -> Submission | None:
        query = select(*SUBMISSION_COLUMNS).where(submissions.c.id == submission_id)
        return next(map(submission_of, self._database.rows(query)), None)

    def named(self, ids: Sequence[str]) -> list[Submission]:
        """Return these submissions, oldest first."""
        found: list[Submission] = []
        for first in range(0, len(ids), _PAGE):
            query = select(*SUBMISSION_COLUMNS).where(submissions.c.id.in_(ids[first : first + _PAGE]))
            found += map(submission_of, self._database.rows(query))
        return sorted(found, key=lambda submission: (submission.intended_at, submission.id))

    def of_case(self, case_id: str) -> Sequence[Submission]:
        """Return a case's submissions, oldest first."""
        with self._database.read() as connection:
            return submissions_of_case(connection, case_id)

    def since(
        self, moment: datetime | None, account: str | None, *, target: str | None = None
    ) -> Sequence[Submission]:
        """Return an account's submissions, of those since `moment` and for `target` if given, oldest first."""
        theirs = cases.c.account.is_(None) if account is None else cases.c.account == account
        query = select(*SUBMISSION_COLUMNS).join(cases, cases.c.id == submissions.c.case_id).where(theirs)
        if moment is not None:
            query = query.where(submissions.c.intended_at >= moment)
        if target is not None:
            query = query.where(submissions.c.target == target)
        return list(map(submission_of, self._database.rows(query.order_by(submissions.c.intended_at))))

    def intended(self, target: str, account: str | None) -> Sequence[Submission]:
        """Return an account's submissions that a target has not had whole yet, the longest waiting first."""
        theirs = cases.c.account.is_(None) if account is None else cases.c.account == account
        waits = submissions.c.target == target, submissions.c.state == SubmissionState.INTENDED, theirs
        query = select(*SUBMISSION_COLUMNS).join(cases, cases.c.id == submissions.c.case_id).where(*waits)
        ordered = query.order_by(submissions.c.intended_at, submissions.c.id)
        return list(map(submission_of, self._database.rows(ordered)))

    def last_turn(self, account: str | None) -> int:
        """Return the number of the account's last submission, 0 when it has none."""
        [last] = self._database.values(last_turn_of(account))
        return last or 0

    def after_turn(self, account: str | None, turn: int, most: int | None = None) -> list[tuple[int, Submission]]:
        """Return the turns of the account behind one, each with the submission that took it; `most` of them."""
        query = (
            select(submission_turns.c.number, *SUBMISSION_COLUMNS)
            .join(submission_turns, submission_turns.c.submission_id == submissions.c.id)
            .where(submission_turns.c.account == _account_key(account), submission_turns.c.number > turn)
            .order_by(submission_turns.c.number)
            .limit(most)
        )
        rows = map(dict, self._database.rows(query))
        return [(row.pop("number"), submission_of(row)) for row in rows]


def submissions_of_case(connection: Connection, case_id: str) -> list[Submission]:
    """Return a case's submissions, oldest first."""
    query = select(*SUBMISSION_COLUMNS).where(submissions.c.case_id == case_id).order_by(submissions.c.intended_at)
    return [submission_of(row) for row in connection.execute(query).mappings()]


def last_turn_of(account: str | None) -> Select[int | None]:
    """Return the question for the number of the account's last turn."""
    return select(func.max(submission_turns.c.number)).where(submission_turns.c.account == _account_key(account))


def _account_key(account: str | None) -> str:
    """Return what stands for an account in a key, which takes no null: our own is empty."""
    return account or ""


def submission_of(row: Any) -> Submission:
    """Build a Submission from a row of the submissions table."""
    return Submission(**{**row, "state": SubmissionState(row["state"]), "event_names": tuple(row["event_names"])})
