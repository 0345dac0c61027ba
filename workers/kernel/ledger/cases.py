"""Cases and their book. One worker at a time holds a case; a write by anybody else fails.

A lease and the case's version guard every write: the version is the number of the last entry, so an entry that
was written meanwhile makes the late writer lose instead of both winning.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, and_, insert, or_, select, update
from sqlalchemy import case as sql_case
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock
from workers.kernel.errors import Conflict, Corrupt
from workers.kernel.ledger.case import Case, CaseState, Failure, case_of, facts_of, row_of, state_of
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.events import receipt_digests
from workers.kernel.ledger.hash_chain import entry_hash, genesis
from workers.kernel.ledger.journal import Balance, EntryKind, Movement, RecordSetRef
from workers.kernel.ledger.leases import LONGEST_WAIT, Lease, Leases, is_over
from workers.kernel.ledger.links import extend
from workers.kernel.ledger.queries import EntryRow, Queries, as_stored, entry_of
from workers.kernel.ledger.submissions import CaseSubmissions, Submission, Submissions
from workers.kernel.ledger.tables import cases, entries


class Cases:
    """The cases table and the entries below it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._leases = Leases(database, cases, lambda: {"lease_owner": None, "lease_until": None})

    def open(self, failure: Failure) -> Case:
        """Return the failure's case, opened now if it is new."""
        now = self._clock()
        row = {
            **{name: getattr(failure, name) for name in Failure.__dataclass_fields__},
            "id": failure.case_id,
            "state": CaseState.SETTLED,
            "version": 0,
            "head": genesis(failure.key),
            "balance": Balance().to_json(),
            "due_at": now,
            "opened_at": now,
            "changed_at": now,
            "attempts": 0,
            "deaths": 0,
        }
        known = self.get(failure.case_id)
        if known is None:
            try:
                with self._database.write() as connection:
                    connection.execute(insert(cases).values(row))
            except IntegrityError:
                pass  # opened by another worker since we looked
            known = self.get(failure.case_id)
        assert known is not None
        return known

    def get(self, case_id: str) -> Case | None:
        """Return one case, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(cases).where(cases.c.id == case_id)).mappings().first()
        return case_of(row) if row else None

    def due(self, limit: int, *, quiet: timedelta = timedelta(0)) -> Sequence[tuple[str, int]]:
        """Return (id, version) of cases that are due and that nobody holds, the longest waiting first."""
        now = self._clock()
        # A case that was written by a clock that was ahead is due: nobody knows when it really is.
        due = or_(cases.c.due_at <= now - quiet, cases.c.changed_at > now + LONGEST_WAIT)
        query = select(cases.c.id, cases.c.version).where(
            cases.c.due_at.is_not(None), due, is_over(cases.c.lease_until, now)
        )
        with self._database.read() as connection:
            return [
                (row.id, row.version) for row in connection.execute(query.order_by(cases.c.due_at).limit(limit))
            ]

    @contextmanager
    def hold(self, case_id: str, owner: str, lease: timedelta) -> Iterator["HeldCase"]:
        """Hold a case while working on it. Raises Conflict when another worker holds it."""
        self._leases.settle()
        now = self._clock()
        free = is_over(cases.c.lease_until, now)
        with self._database.write() as connection:
            taken = connection.execute(
                update(cases)
                .where(cases.c.id == case_id, free)
                .values(
                    lease_owner=owner,
                    lease_until=now + lease,
                    # A lease that is still there ran out over a worker that died holding it.
                    deaths=cases.c.deaths + sql_case((cases.c.lease_owner.is_not(None), 1), else_=0),
                )
            )
            if taken.rowcount != 1:
                raise Conflict(f"{case_id} is held by another worker")
            row = connection.execute(select(cases).where(cases.c.id == case_id)).mappings().one()
        held = HeldCase(self._database, self._clock, case_of(row), owner, lease)
        try:
            yield held
        finally:
            self._leases.give_back(Lease(cases.c.id == case_id, owner, held.case.deaths))


class HeldCase:
    """A case under lease. `case`, `journal` and `submissions` are always as of the last write.

    The journal and the submissions are read once, when they are first asked for: nobody else writes to a held case.
    """

    def __init__(self, database: Database, clock: Clock, case: Case, owner: str, lease: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._lease = lease
        self.case = case
        self._journal: list[EntryRow] | None = None
        self._submissions: Sequence[Submission] | None = None

    @property
    def journal(self) -> Sequence[EntryRow]:
        """The case's entries, oldest first."""
        if self._journal is None:
            self._journal = list(Queries(self._database, self._clock).entries(self.case.id))
        return self._journal

    @property
    def submissions(self) -> Sequence[Submission]:
        """The case's submissions, oldest first."""
        if self._submissions is None:
            self._submissions = Submissions(self._database, self._clock).of_case(self.case.id)
        return self._submissions

    @contextmanager
    def transaction(self) -> Iterator["CaseTransaction"]:
        """Write entries, submissions and the next due time as one; all of it or nothing.

        Raises Conflict when the lease was lost or the case has moved on.
        """
        with self._database.write() as connection:
            draft = CaseTransaction(connection, self.case, self._clock())
            yield draft
            rows = draft.entries()
            self._update(connection, draft.changes() | {"lease_until": self._clock() + self._lease})
            _append(connection, rows)
        self.case = case_of(draft.row())
        if self._journal is not None:
            self._journal += [entry_of({**row, "detail": as_stored(row["detail"])}) for row in rows]
        if draft.submissions.told:
            self._submissions = None

    def renew(self) -> None:
        """Extend the lease during long work, from any thread. Raises Conflict when it was lost."""
        mine = and_(cases.c.id == self.case.id, cases.c.lease_owner == self._owner)
        with self._database.write() as connection:
            values = {"lease_until": self._clock() + self._lease}
            if connection.execute(update(cases).where(mine).values(values)).rowcount != 1:
                raise Conflict(f"the lease on {self.case.id} was lost")

    def _update(self, connection: Connection, values: dict[str, Any]) -> None:
        mine = and_(
            cases.c.id == self.case.id, cases.c.lease_owner == self._owner, cases.c.version == self.case.version
        )
        if connection.execute(update(cases).where(mine).values(values)).rowcount != 1:
            raise Conflict(f"the lease on {self.case.id} was lost")


def _append(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add entries to a case's book, and the last of them to the chain over all cases."""
    if not rows:
        return
    try:
        connection.execute(insert(entries), rows)
    except IntegrityError as error:
        raise Corrupt(f"{rows[0]['case_id']} has entries beyond its head") from error
    extend(connection, rows[-1]["case_id"], rows[-1]["number"], rows[-1]["hash"])


class CaseTransaction:
    """What is written to one case in one commit.

    What is known of the case itself and of its submissions stands in their rows and may change there, so the first
    entry of the commit says in its detail what was written: the chain covers it so. A commit that moves no record
    gets an entry for it.
    """

    def __init__(self, connection: Connection, case: Case, now: datetime) -> None:
        self._connection = connection
        self._case = case
        self._now = now
        self._version, self._head, self.balance = case.version, case.head, case.balance
        self._changes: dict[str, Any] = {}
        self._movements: list[Movement] = []
        self._described: dict[str, Any] = {}
        self._evidence: dict[str, str] = {}
        self.submissions = CaseSubmissions(connection, case.id, case.failure.account, now)

    def move(self, *movements: Movement) -> None:
        """Append entries and apply them to the balance. Raises Corrupt when one would overdraw a bucket."""
        for movement in movements:
            self.balance = self.balance.after(movement)
            if not self.balance.holds():
                raise Corrupt(f"{movement.kind} would break the book of {self._case.id}")
            self._movements.append(movement)

    def show(self, evidence: Iterable[RecordSetRef]) -> None:
        """Name files of the archive that show why the entries of this commit are made."""
        self._evidence |= {file.name: file.sha256 for file in evidence}

    def wake(self, due_at: datetime | None, *, trouble: str | None = None) -> None:
        """Set when the case must be looked at next; None means when something arrives for it.

        `trouble` says what keeps it waiting, where that is worth a look.
        """
        self._changes |= {"due_at": due_at, "attempts": 0, "deaths": 0, "trouble": trouble}

    def wait(self, due_at: datetime | None) -> None:
        """Set when to look again at a case that other jobs work for: how often they failed still counts."""
        self._changes |= {"due_at": due_at, "deaths": 0, "trouble": None}

    def stumble(self, trouble: str, due_at: datetime | None) -> None:
        """Note that work on the case failed; None as `due_at` leaves it to a person."""
        self._changes |= {"trouble": trouble, "due_at": due_at, "attempts": self._case.attempts + 1}

    def alerted(self, meaning: str) -> None:
        """Remember what was last said of the case, so that it is not said twice."""
        self._changes["alerted"] = meaning

    def describe(self, **fields: str | None) -> None:
        """Complete what is known of the failure, such as the meter's event name."""
        new = {name: value for name, value in fields.items() if getattr(self._case.failure, name) != value}
        self._changes |= new
        self._described |= new

    def entries(self) -> Sequence[dict[str, Any]]:
        """Return the rows of the entries table that this commit adds."""
        facts = {CASE: self._described, SUBMISSIONS: self.submissions.told, EVIDENCE: self._evidence}
        if any(facts.values()) and not self._movements:
            self.move(Movement(EntryKind.NOTED, None, None, 0, Decimal(0)))
        if self._case.version == 0:
            facts[CASE] = facts_of(self._case) | self._described
        events = {movement.event_id for movement in self._movements if movement.event_id}
        digests = receipt_digests(self._connection, events) if events else {}
        rows: list[dict[str, Any]] = []
        for movement in self._movements:
            beside = {} if rows else {name: fact for name, fact in facts.items() if fact}
            digest = {EVENT_DIGEST: digests[movement.event_id]} if movement.event_id in digests else {}
            rows.append(self._entry(movement, {**movement.detail, **digest, **beside}))
        return rows

    def _entry(self, movement: Movement, detail: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        row = {
            "case_id": self._case.id,
            "number": self._version,
            **{name: getattr(movement, name) for name in _MOVEMENT_COLUMNS},
            "record_set": movement.record_set.name if movement.record_set else None,
            "record_set_sha256": movement.record_set.sha256 if movement.record_set else None,
            "detail": detail,
            "at": self._now,
            "previous": self._head,
        }
        self._head = row["hash"] = entry_hash(row)
        return row

    def changes(self) -> dict[str, Any]:
        """Return the new values of the case's row."""
        book = {"version": self._version, "head": self._head, "balance": self.balance.to_json()}
        return {**book, "state": state_of(self.balance), "changed_at": self._now, **self._changes}

    def row(self) -> dict[str, Any]:
        """Return the case's whole row as it stands after the commit."""
        return {**row_of(self._case), **self.changes()}


CASE: Final = "case"
"""Key in an entry's detail: what is known of the case, by column; of a later entry only what has changed."""
SUBMISSIONS: Final = "submissions"
"""Key in an entry's detail: what was written of each submission, by column."""
EVIDENCE: Final = "evidence"
"""Key in an entry's detail: name -> sha256 of files in the archive."""
EVENT_DIGEST: Final = "event_digest"
"""Key in an entry's detail: the digest of the event that `event_id` names, as `events.receipt_digest` makes it."""

_MOVEMENT_COLUMNS = (
    "kind", "from_bucket", "to_bucket", "records", "quantity", "revision", "submission_id", "event_id", "actor",
)  # fmt: skip
