"""One database connection pool, SQLite or PostgreSQL, with its failures in our own words."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import CompoundSelect, Connection, Engine, RowMapping, Select, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from workers.kernel.errors import LedgerUnavailable, SettingsUnusable

Value = TypeVar("Value")

BUSY_SECONDS = 5
"""How long a writer waits for SQLite's single write lock, or for a PostgreSQL connection."""

GONE_SECONDS = 20
"""After so long without a word in a transaction a process is taken for gone, and what it locked is freed."""

GLANCE_SECONDS = 0.02
"""How long SQLite itself waits for its write lock, which stops the web\'s event loop; then the loop goes on."""

_TO_POSTGRES: Final = {
    "connect_timeout": BUSY_SECONDS,
    "tcp_user_timeout": GONE_SECONDS * 1000,
    # Whoever waits for an answer has nothing under way that could fail: without these he waits two hours for a
    # machine that has vanished.
    "keepalives_idle": GONE_SECONDS // 2,
    "keepalives_interval": GONE_SECONDS // 4,
    # A pooler gives each transaction another session, where what this one has prepared is not known.
    "prepare_threshold": None,
}

_BEGIN_POSTGRES: Final = (
    "BEGIN; SET LOCAL lock_timeout = 10000; SET LOCAL statement_timeout = 60000; "
    f"SET LOCAL idle_in_transaction_session_timeout = {GONE_SECONDS * 1000}"
)
"""Bounds that hold for one transaction: a pooler refuses or drops those that a connection is opened with."""

COPIED: Final = {"copied": True}
"""Execution options of an INSERT of plain values: PostgreSQL takes many rows as one COPY, at less cost."""

_NO_SUCH_TABLE_OR_COLUMN = ("42P01", "42703")
"""PostgreSQL's states for what only a migration mends; SQLite reports the same as an operational error."""


class Database:
    """Transactions on the ledger's database. Safe to share between threads, not across a fork."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._reader = self.engine.execution_options(reads_only=True)
        self._write_turn = threading.Lock() if self.engine.dialect.name == "sqlite" else None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits on leaving. Raises LedgerUnavailable: away, locked or full."""
        with self._turn(), _translated(), _begun(self.engine) as connection:
            yield connection
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a consistent read that takes no write lock. Raises LedgerUnavailable."""
        with _translated(), _begun(self._reader) as connection:
            yield connection

    def rows(self, query: Select[Any] | CompoundSelect[Any]) -> Sequence[RowMapping]:
        """Return the rows that one query finds. Raises LedgerUnavailable."""
        with self.read() as connection:
            return connection.execute(query).mappings().all()

    def values(self, query: Select[Value]) -> Sequence[Value]:
        """Return the values that a query of one column finds. Raises LedgerUnavailable."""
        with self.read() as connection:
            return connection.scalars(query).all()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let this process's threads write to SQLite one after another.

        Left to SQLite they would poll for its write lock, and on a busy machine some would poll in vain.
        """
        if self._write_turn is None:
            yield
            return
        if not self._write_turn.acquire(timeout=BUSY_SECONDS):
            raise LedgerUnavailable("the ledger does not answer: database is locked")
        try:
            yield
        finally:
            self._write_turn.release()

    def rewrite(self) -> bool:
        """Write SQLite's file anew, so that nothing is left in it of what was changed or deleted.

        Takes as much free disk as the ledger has, and keeps every other writer waiting. False while another process
        reads: it is to be done again. PostgreSQL's own VACUUM does it there. Raises LedgerUnavailable.
        """
        if self._write_turn is None:
            return True
        with self._turn():
            pooled = self.engine.raw_connection()
            try:
                connection = pooled.driver_connection
                assert isinstance(connection, sqlite3.Connection)
                connection.execute("VACUUM")
                [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise LedgerUnavailable(f"the ledger's file cannot be written anew: {error}") from error
            finally:
                pooled.close()
        return not busy

    def close(self) -> None:
        self.engine.dispose()


def _begun(engine: Engine) -> Connection:
    """Return a connection with a transaction; it is tried by its BEGIN, so that it need not be asked before."""
    try:
        return _begun_once(engine)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return _begun_once(engine)  # the server was away since: all connections of before are given up


def _begun_once(engine: Engine) -> Connection:
    connection = engine.connect()
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        raise LedgerUnavailable(f"the ledger does not answer: {_first_line(error)}") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _NO_SUCH_TABLE_OR_COLUMN:
            raise LedgerUnavailable("the ledger is not migrated: run metermend db upgrade") from error
        if type(error) is DatabaseError:  # what only SQLite says, of a file that is none of its own, or damaged
            raise LedgerUnavailable(
                f"the ledger cannot be read: {_first_line(error)} - see DATABASE_URL"
            ) from error
        if error.connection_invalidated:
            raise LedgerUnavailable(f"the ledger closed the connection: {_first_line(error)}") from error
        raise


def _first_line(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsUnusable(
            "not a database address", where="DATABASE_URL", mend="sqlite:///path or postgresql://user@host/name"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url, parsed.database)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        modern = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(modern, pool_timeout=BUSY_SECONDS, connect_args=_TO_POSTGRES)
        event.listen(engine, "connect", _leave_begin_to_us)
        event.listen(engine, "begin", _begin_postgres)
        event.listen(engine, "do_executemany", _copy)
        return engine
    raise SettingsUnusable(
        f"{parsed.get_backend_name()} is not supported", where="DATABASE_URL", mend="use sqlite or postgresql"
    )


def sqlite_file(url: str) -> Path | None:
    """Return the file of a ledger on SQLite; None for any other, and for what is no address."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None  # `Database` says so
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _sqlite(url: str, path: str | None) -> Engine:
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _tune_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _leave_begin_to_us(connection: Any, _record: object) -> None:
    connection.autocommit = True  # the driver would send a BEGIN of its own, and take one more round trip


def _begin_postgres(connection: Connection) -> None:
    connection.exec_driver_sql(_BEGIN_POSTGRES)


def _copy(cursor: Any, _statement: str, rows: Sequence[Mapping[str, Any]], context: Any) -> bool:
    """Insert the rows of a COPIED statement; False leaves any other to the driver."""
    if "copied" not in context.execution_options:
        return False
    table, columns = context.compiled.statement.table.name, ", ".join(rows[0])
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(list(row.values()))
    return True


def _tune_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction control would begin late and upgrade a read into a write, which deadlocks.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000:.0f}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("reads_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={GLANCE_SECONDS * 1000:.0f}")
    try:
        _begin_to_write(connection)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")


def _begin_to_write(connection: Connection) -> None:
    """Wait for another process's transaction to end."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(GLANCE_SECONDS)
