"""Cases and their journal. One worker at a time holds a case; a write by anybody else fails.

A lease and the case's version guard every write: the version is the number of the last entry, so an entry that
was written meanwhile makes the late writer lose instead of both winning.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from sqlalchemy import BigInteger, Connection, cast, func, insert, or_, select
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock
from workers.kernel.errors import Corrupt
from workers.kernel.ledger.awaited import Awaited, awaited_by
from workers.kernel.ledger.case import Case, CaseState, Failure, case_of
from workers.kernel.ledger.case_transaction import CaseTransaction
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.hash_chain import genesis
from workers.kernel.ledger.journal import Balance, Bucket
from workers.kernel.ledger.leases import LONGEST_WAIT, Lease, Leases, is_over
from workers.kernel.ledger.links import extend
from workers.kernel.ledger.open_parts import forget_open
from workers.kernel.ledger.queries import EntryRow, as_stored, entry_of, journal_of
from workers.kernel.ledger.submissions import Submission, submissions_of_case
from workers.kernel.ledger.tables import cases, entries
from workers.kernel.ledger.totals import keep
from workers.kernel.ledger.windows import join


class DueCase(NamedTuple):
    """A case that waits to be looked at, and how many records are to be planned."""

    id: str
    version: int
    pending: int


class CaseReading(Protocol):
    """What is known of a case at one moment, for whoever only looks at it."""

    @property
    def case(self) -> Case: ...

    @property
    def journal(self) -> Sequence[EntryRow]: ...

    @property
    def submissions(self) -> Sequence[Submission]: ...


@dataclass(frozen=True)
class ReadCase:
    """A case as it was read, without a lease: who writes by it asks whether its version is still the same."""

    case: Case
    journal: Sequence[EntryRow]
    submissions: Sequence[Submission]


class Cases:
    """The cases table and the entries below it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._leases = Leases(database, clock, cases, "lease_until", lambda: {"lease_until": None})

    def get(self, case_id: str) -> Case | None:
        return next(map(case_of, self._database.rows(select(cases).where(cases.c.id == case_id))), None)

    def read(self, case_id: str) -> ReadCase:
        """Return a case that is there, with what belongs to it, without holding it.

        What is read after the case itself may be newer; its version has changed then.
        """
        with self._database.read() as connection:
            row = connection.execute(select(cases).where(cases.c.id == case_id)).mappings().one()
            return ReadCase(case_of(row), journal_of(connection, case_id), submissions_of_case(connection, case_id))

    def due(self, limit: int, lease: timedelta = LONGEST_WAIT) -> Sequence[DueCase]:
        """Return cases that are due and that nobody holds, for `lease` at most, by money and time left.

        One that was never appraised comes as if its deadline were the moment when it was due (`appraisal`).
        """
        now = self._clock()
        # A case that was written by a clock that was ahead is due: nobody knows when it really is.
        due = or_(cases.c.due_at <= now, cases.c.changed_at > now + LONGEST_WAIT)
        first = func.coalesce(cases.c.urgent_at, cases.c.due_at)
        free = is_over(cases, "lease_until", now, lease)
        # First which, then what of them: of a hundred thousand that are due only those are read whole.
        ids = select(cases.c.id).where(cases.c.due_at.is_not(None), due, free)
        ids = ids.order_by(first, cases.c.due_at).limit(limit)
        pending = cast(cases.c.balance[(Bucket.PENDING.value, "records")].as_string(), BigInteger)
        query = select(cases.c.id, cases.c.version, pending.label("pending")).where(cases.c.id.in_(ids))
        return [DueCase(**row) for row in self._database.rows(query.order_by(first, cases.c.due_at))]

    def join(self, failure: Failure, gap: timedelta, longest: timedelta) -> Failure:
        """Return the failure that a window of refusals belongs to: one whose case is open for it from now on.

        That is the failure of the same subject and code that is less than `gap` before or after it, if with both it
        lasts no longer than `longest`; else the window is a failure of its own. One without times joins none.
        """
        with self._database.write() as connection:
            return join(connection, failure, _opened(failure, self._clock()), gap, longest)

    @contextmanager
    def hold(self, case: str | Failure, owner: str, lease: timedelta) -> Iterator["HeldCase"]:
        """Hold a case; a failure's is opened if it is new. Raises Conflict when another worker holds it."""
        case_id, new = (case, None) if isinstance(case, str) else (case.case_id, _opened(case, self._clock()))
        row = self._leases.take(case_id, owner, lease, new=new)
        held = HeldCase(self._leases, owner, lease, case_of(row))
        try:
            yield held
        finally:
            if not held.given_back:
                self._leases.give_back(Lease(case_id, owner, held.case.deaths))


@dataclass(eq=False)
class HeldCase:
    """A case under lease. `case`, `journal` and `submissions` are always as of the last write.

    The journal and the submissions are read once, when they are first asked for: nobody else writes to a held case.
    `given_back` tells that the last commit has ended the lease.
    """

    _leases: Leases
    _owner: str
    _lease: timedelta
    case: Case
    given_back: bool = field(default=False, init=False)
    _read: tuple[list[EntryRow], Sequence[Submission]] | None = field(default=None, init=False)
    _awaited: Sequence[Awaited] | None = field(default=None, init=False)

    @property
    def journal(self) -> Sequence[EntryRow]:
        """The case's entries, oldest first."""
        return self._loaded()[0]

    @property
    def submissions(self) -> Sequence[Submission]:
        """The case's submissions, oldest first."""
        return self._loaded()[1]

    @property
    def awaited(self) -> Sequence[Awaited]:
        """What records of the case wait for."""
        if self._awaited is None:
            with self._leases.database.read() as connection:
                self._awaited = awaited_by(connection, self.case.id)
        return self._awaited

    def _loaded(self) -> tuple[list[EntryRow], Sequence[Submission]]:
        if self._read is None:
            with self._leases.database.read() as connection:
                self._read = journal_of(connection, self.case.id), submissions_of_case(connection, self.case.id)
        return self._read

    @contextmanager
    def transaction(self, *, last: bool = False) -> Iterator["CaseTransaction"]:
        """Write entries, submissions and the next due time as one; all of it or nothing.

        The `last` one gives the case back as well. Raises Conflict when the lease was lost or the case moved on.
        """
        with self._leases.database.write() as connection:
            draft = CaseTransaction(connection, self.case, self._leases.clock())
            yield draft
            rows = draft.entries()
            self._update(connection, draft.changes(), last=last)
            _append(connection, rows, self.case, draft.case())
            if draft.awaited.changed:
                self._awaited = None
            read = self._read
            if read is not None:
                there = submissions_of_case(connection, self.case.id) if draft.submissions.told else read[1]
                read = [*read[0], *(entry_of({**row, "detail": as_stored(row["detail"])}) for row in rows)], there
        self.case, self._read, self.given_back = draft.case(), read, last

    def _update(self, connection: Connection, values: Mapping[str, Any], *, last: bool) -> None:
        until = None if last else self._leases.clock() + self._lease
        lease = {"lease_owner": None if last else self._owner, "lease_until": until}
        not_moved_on = cases.c.version == self.case.version
        self._leases.write(connection, self.case.id, self._owner, {**values, **lease}, not_moved_on)

    def renewed(self) -> AbstractContextManager[Connection]:
        """Extend the lease with what is written beside the journal. Raises Conflict when it was lost."""
        return self._leases.renewed(self.case.id, self._owner, self._lease)

    def renew(self) -> None:
        """Extend the lease during long work, from any thread. Raises Conflict when it was lost."""
        with self.renewed():
            pass


def _opened(failure: Failure, now: datetime) -> dict[str, Any]:
    return {
        **{name: getattr(failure, name) for name in Failure.__dataclass_fields__},
        "id": failure.case_id,
        "state": CaseState.SETTLED,
        "version": 0,
        "head": genesis(failure.key),
        "balance": Balance().to_json(),
        "due_at": now,
        "opened_at": now,
        "changed_at": now,
    }


def _append(connection: Connection, rows: Sequence[dict[str, Any]], before: Case, after: Case) -> None:
    """Add entries to a case's journal, and the last of them to the chain over all cases."""
    if not rows:
        return
    try:
        connection.execute(insert(entries), rows)
    except IntegrityError as error:
        raise Corrupt(f"{rows[0]['case_id']} has entries beyond its head") from error
    extend(connection, after.id, after.version, after.head)
    keep(connection, before, after)
    if after.state is CaseState.SETTLED and before.state is not CaseState.SETTLED:
        forget_open(connection, after.id)
