"""Leases: one worker at a time works on a row, and a worker that dies over it is counted.

A lease that ran out was left by a worker that died, or by one that lives and could not reach the ledger. The latter
says so as soon as the ledger answers, so that only real deaths bring a row nearer to its end.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, or_, update

from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger.database import Database

MAX_DEATHS: Final = 3
"""Workers that may die over an event or a case before it is left to a person."""

LONGEST_WAIT: Final = timedelta(hours=2)
"""No lease lasts and no event waits longer: what lies further ahead was written by a clock that was ahead."""


def is_over(until: ColumnElement[Any], moment: datetime) -> ColumnElement[bool]:
    """Tell whether a lease or a wait until then has run out, or was never real; none at all is over, too."""
    return or_(until.is_(None), until <= moment, until > moment + LONGEST_WAIT)


@dataclass(frozen=True)
class Lease:
    """The row that `owner` works on; `deaths` is how many workers had died over it when he took it up."""

    row: ColumnElement[bool]
    owner: str
    deaths: int


class Leases:
    """What this process gives back of one table, at once or when the ledger answers again.

    `given_back` returns the values of a row that nobody works on.
    """

    def __init__(self, database: Database, table: Table, given_back: Callable[[], Mapping[str, Any]]) -> None:
        self._database = database
        self._table = table
        self._given_back = given_back
        self._owed: deque[Lease] = deque()
        self._turn = threading.Lock()

    def give_back(self, lease: Lease) -> None:
        """Give a row back, or owe it while the ledger is away; a death that was counted for it is taken back.

        A row that was ended or given back already is left as it is.
        """
        self._owed.append(lease)
        with suppress(LedgerUnavailable):
            self.settle()

    def settle(self) -> None:
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
        columns = self._table.c
        mine = update(self._table).where(lease.row, columns.lease_owner == lease.owner)
        taken_over = update(self._table).where(lease.row, columns.deaths > lease.deaths)
        with self._database.write() as connection:
            if connection.execute(mine.values(**self._given_back())).rowcount != 1:
                connection.execute(taken_over.values(deaths=columns.deaths - 1))
