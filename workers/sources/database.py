"""The database of a table of usage: only ever read, each question bounded, its failures in our own words."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchTableError, SQLAlchemyError

from workers.kernel.errors import MetermendError, SettingsUnusable, Transient

STATEMENT_SECONDS: Final = 60
"""How long one question, and one fetch of a cursor, may take."""
_CONNECT_SECONDS: Final = 5
_FORM: Final = "postgresql://user:password@host/database?table=usage"
_AT_FAULT: Final = re.compile(
    r"authentication failed|does not exist|no such (table|column)|permission denied|no pg_hba|unable to open"
)
"""What a database says where no later try can help."""


class SourceDatabase:
    """One table or view, by the address of its database with `?table=`. Nothing is contacted when it is made.

    `location` names it without user and password. Raises SettingsUnusable for what is no such address.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except (ArgumentError, ValueError):
            raise SettingsUnusable("no address of a table", where="USAGE_SOURCES", mend=f"write {_FORM}") from None
        table = parsed.query.get("table")
        place = f"{parsed.host or ''}{f':{parsed.port}' if parsed.port else ''}/{parsed.database or ''}"
        self._dialect = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql"
        if not isinstance(table, str) or not table or not parsed.database:
            raise SettingsUnusable("names no table", where=f"{self._dialect}://{place}", mend=f"write {_FORM}")
        self._url = parsed.difference_update_query(["table"])
        self.table = table
        self.location = f"{self._dialect}://{place}/{table}"

    @property
    def name(self) -> str:
        """The table's name without its schema."""
        return self.table.rpartition(".")[2]

    @property
    def schema(self) -> str | None:
        """The schema that the table's name begins with."""
        return self.table.rpartition(".")[0] or None

    def columns(self) -> dict[str, Any]:
        """Return the table's columns with their types."""
        with self._translated(), self._engine.connect() as connection:
            found = sa.inspect(connection).get_columns(self.name, self.schema)
        return {column["name"]: column["type"] for column in found}

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a read-only transaction that sees one state. Raises Transient and SettingsUnusable."""
        with self._translated(), self._engine.connect() as connection:
            if self._dialect == "postgresql":
                connection.execute(sa.text(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'"))
            yield connection

    @cached_property
    def _engine(self) -> sa.Engine:
        """Makes connections that end with their transaction: in between the sender's database has none of ours."""
        if self._dialect == "sqlite":
            path = f"file:{quote(self._url.database or '')}?mode=ro"
            return sa.create_engine(
                "sqlite://",
                creator=lambda: sqlite3.connect(path, timeout=_CONNECT_SECONDS, uri=True, check_same_thread=False),
                poolclass=sa.NullPool,
            )
        return sa.create_engine(
            self._url.set(drivername="postgresql+psycopg"),
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "tcp_user_timeout": STATEMENT_SECONDS * 1000,
                "prepare_threshold": None,  # a pooler gives the next transaction another session
            },
            execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
            poolclass=sa.NullPool,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._translate(error) from None  # its own text has the values that were asked for

    def _translate(self, error: SQLAlchemyError) -> MetermendError:
        said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0][:300]
        if isinstance(error, NoSuchTableError):
            return SettingsUnusable("there is no such table or view", where=self.location, mend="correct ?table=")
        if _AT_FAULT.search(said):
            return SettingsUnusable(said, where=self.location, mend="correct the address, or let its user read it")
        if isinstance(error, DBAPIError):
            if getattr(getattr(error, "orig", None), "sqlstate", None) == "57014":
                said = f"no answer within {STATEMENT_SECONDS} s - indexes on the watermark and the identifier help"
            return Transient(f"{self.location}: {said}")
        return SettingsUnusable(said, where=self.location, mend="see USAGE_SOURCES")
