"""Who is logged in to the console: a session ends for every browser when it is closed, and of itself in time."""

import secrets
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, insert, select

from workers.kernel.clock import Clock
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import sessions


class Sessions:
    """The sessions table. It holds the hashes of tokens, so that who reads the ledger cannot log in with it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def open(self, lasting: timedelta) -> str:
        """Return the token of a new session; those that have ended are forgotten. Raises LedgerUnavailable."""
        token, now = secrets.token_urlsafe(32), self._clock()
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.ends_at <= now))
            connection.execute(insert(sessions).values(id=_hash(token), ends_at=now + lasting))
        return token

    def is_open(self, token: str) -> bool:
        """Whether a session lasts. Raises LedgerUnavailable."""
        lasts = select(sessions.c.id).where(sessions.c.id == _hash(token), sessions.c.ends_at > self._clock())
        with self._database.read() as connection:
            return connection.scalar(lasts) is not None

    def close_all(self) -> None:
        """End every session. Raises LedgerUnavailable."""
        with self._database.write() as connection:
            connection.execute(delete(sessions))

    def close(self, token: str) -> None:
        """End a session. Raises LedgerUnavailable."""
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.id == _hash(token)))


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
