"""Leases: one worker at a time works on a row, and a worker that dies over it is counted.

A lease that ran out was left by a worker that died, or by one that lives and could not reach the ledger. The latter
says so as soon as the ledger answers, so that only real deaths bring a row nearer to its end.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, case, insert, or_, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock
from workers.kernel.errors import Conflict, LedgerUnavailable
from workers.kernel.ledger.database import Database

MAX_DEATHS: Final = 3
"""Workers that may die over an event or a case before it is left to a person."""

LONGEST_WAIT: Final = timedelta(hours=2)
"""No lease lasts and no event waits longer: what lies further ahead was written by a clock that was ahead."""


def is_over(table: Table, until: str, moment: datetime, lease: timedelta = LONGEST_WAIT) -> ColumnElement[bool]:
    """Tell whether a row's lease or wait has run out, or was never real; none at all is over, too.

    Nobody holds a row for longer than `lease`, whatever it says: more was written by a clock that was ahead. Twice
    as much is let pass, for clocks that differ a little.
    """
    ends, owner = table.c[until], table.c.lease_owner
    too_long = or_(ends > moment + LONGEST_WAIT, and_(owner.is_not(None), ends > moment + 2 * lease))
    return or_(ends.is_(None), ends <= moment, too_long)


@dataclass(frozen=True)
class Lease:
    """The row that `owner` works on; `deaths` is how many workers had died over it when he took it up."""

    row_id: str
    owner: str
    deaths: int


@dataclass(frozen=True, eq=False)
class Leases:
    """The leases on one table's rows, which have the columns `id`, `lease_owner` and `deaths`.

    `until` names the column that says how long a lease lasts; `given_back` returns the values of a row that nobody
    works on.
    """

    database: Database
    clock: Clock
    table: Table
    until: str
    given_back: Callable[[], Mapping[str, Any]]
    _owed: deque[Lease] = field(default_factory=deque, init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)

    def take(
        self,
        row_id: str,
        owner: str,
        lease: timedelta,
        *free: ColumnElement[bool],
        new: Mapping[str, Any] | None = None,
        **beside: Any,
    ) -> RowMapping:
        """Take a row for `lease`, set `beside` with it, and return the row; `new` is put where there is none.

        Raises Conflict when somebody else has it, or it is not `free` for another reason.
        """
        self._settle()
        columns, now = self.table.c, self.clock()
        taken = {"lease_owner": owner, self.until: now + lease}
        # An owner that is still named died over the row.
        deaths = columns.deaths + case((columns.lease_owner.is_not(None), 1), else_=0)
        found = update(self.table).where(columns.id == row_id, is_over(self.table, self.until, now, lease), *free)
        values = {**taken, "deaths": deaths, **beside}
        try:
            with self.database.write() as connection:
                row = connection.execute(found.values(values).returning(self.table)).mappings().first()
                if row is None and new is not None:
                    opened = insert(self.table).values({**new, **taken})
                    row = connection.execute(opened.returning(self.table)).mappings().one()
        except IntegrityError as error:  # a row that was to be new is there already
            raise Conflict(f"{row_id} is held by another worker") from error
        if row is None:
            raise Conflict(f"{row_id} is ended or held by another worker")
        return row

    @contextmanager
    def renewed(self, row_id: str, owner: str, lease: timedelta) -> Iterator[Connection]:
        """Extend a lease in one transaction with what else is written. Raises Conflict when it was lost."""
        with self.database.write() as connection:
            self.write(connection, row_id, owner, {self.until: self.clock() + lease})
            yield connection

    def end(self, row_id: str, owner: str, values: Mapping[str, Any]) -> None:
        """Give a row back with other values than those of `given_back`. Raises Conflict when the lease was lost."""
        with self.database.write() as connection:
            self.write(connection, row_id, owner, {"lease_owner": None, **values})

    def write(
        self,
        connection: Connection,
        row_id: str,
        owner: str,
        values: Mapping[str, Any],
        *unchanged: ColumnElement[bool],
    ) -> None:
        """Write to a row that is held and `unchanged`. Raises Conflict when the lease was lost."""
        mine = update(self.table).where(self.table.c.id == row_id, self.table.c.lease_owner == owner, *unchanged)
        if connection.execute(mine.values(dict(values))).rowcount != 1:
            raise Conflict(f"the lease on {row_id} was lost")

    def give_back(self, lease: Lease) -> None:
        """Give a row back, or owe it while the ledger is away; a death that was counted for it is taken back.

        A row that was ended or given back already is left as it is.
        """
        self._owed.append(lease)
        with suppress(LedgerUnavailable):
            self._settle()

    def _settle(self) -> None:
        """Give back what is owed. Raises LedgerUnavailable while the ledger is away."""
        with self._turn:
            while self._owed:
                lease = self._owed.popleft()
                try:
                    self._return(lease)
                except LedgerUnavailable:
                    self._owed.appendleft(lease)
                    raise

    def _return(self, lease: Lease) -> None:
        columns = self.table.c
        taken_over = update(self.table).where(columns.id == lease.row_id, columns.deaths > lease.deaths)
        with self.database.write() as connection:
            try:
                self.write(connection, lease.row_id, lease.owner, {"lease_owner": None, **self.given_back()})
            except Conflict:
                connection.execute(taken_over.values(deaths=columns.deaths - 1))
