"""Who may use the console, and what for: viewers read, operators ask for acts, approvers approve them as well."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import RowMapping, insert, select, update

from workers.kernel.clock import Clock
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import users

LONGEST_NAME: Final = 100
SHARED: Final = "console"
"""The name of all who log in without one, by the password of the settings: they may do everything."""


class Role(StrEnum):
    """What somebody may do, each role all that the one before may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"

    def may(self, wanted: "Role") -> bool:
        """Whether this role includes what another one may do."""
        return list(Role).index(self) >= list(Role).index(wanted)


@dataclass(frozen=True)
class User:
    """One person. `password_hash` is werkzeug's, by scrypt."""

    name: str
    role: Role
    password_hash: str
    made_at: datetime
    disabled_at: datetime | None = None


class Users:
    """The users table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, name: str) -> User | None:
        """Return whom a name stands for, if he may log in. Raises LedgerUnavailable."""
        query = select(users).where(users.c.name == name, users.c.disabled_at.is_(None))
        return next(map(_user, self._database.rows(query)), None)

    def all(self) -> Sequence[User]:
        """Return everybody, by name, those who may log in no more among them."""
        return list(map(_user, self._database.rows(select(users).order_by(users.c.name))))

    def add(self, name: str, role: Role, password_hash: str) -> User:
        """Let somebody use the console. Raises InputUnusable where the name is taken or is none."""
        if not name.strip() or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise InputUnusable("no name", where=repr(name)[:LONGEST_NAME], mend="up to 100 printable characters")
        if name == SHARED or any(user.name == name for user in self.all()):
            raise InputUnusable(
                "there is such a user already",
                where=name,
                mend="`metermend user change` gives another role or password",
            )
        made = User(name, role, password_hash, self._clock())
        with self._database.write() as connection:
            connection.execute(insert(users).values(vars(made)))
        return made

    def change(self, name: str, **values: Any) -> User:
        """Give somebody another `role` or `password_hash`, or note when he was shut out (`disabled_at`).

        With another password all his sessions end. Raises InputUnusable where there is nobody of that name.
        """
        with self._database.write() as connection:
            if connection.execute(update(users).where(users.c.name == name).values(values)).rowcount != 1:
                raise InputUnusable("there is no such user", where=name, mend="`metermend user list` shows them")
        return next(user for user in self.all() if user.name == name)

    def disable(self, name: str) -> User:
        """Let somebody log in no more, and end his sessions."""
        return self.change(name, disabled_at=self._clock())


def _user(row: RowMapping) -> User:
    user = User(**row)
    return replace(user, role=Role(user.role))
