"""Cases and their book. One worker at a time holds a case; a write by anybody else fails.

A lease and the case's version guard every write: the version is the number of the last entry, so an entry that
was written meanwhile makes the late writer lose instead of both winning.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update
from sqlalchemy import case as sql_case
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock
from workers.kernel.errors import Conflict, Corrupt
from workers.kernel.ledger.case import Case, CaseState, Failure, case_of
from workers.kernel.ledger.case_transaction import CaseTransaction
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.hash_chain import genesis
from workers.kernel.ledger.journal import Balance
from workers.kernel.ledger.leases import LONGEST_WAIT, Lease, Leases, is_over
from workers.kernel.ledger.links import extend
from workers.kernel.ledger.queries import EntryRow, Queries, as_stored, entry_of
from workers.kernel.ledger.submissions import Submission, Submissions
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
            self._submissions = Submissions(self._database).of_case(self.case.id)
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
