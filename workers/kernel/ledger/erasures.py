"""What of the whole ledger names one customer, and erasing him from the rows that belong to no case."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, select, text

from workers.kernel.erasing import Eraser
from workers.kernel.ledger.acts import FORGET, ActState
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.erasure import ACT, EVENTS, OF_A_CASE, erase_event, erase_rows, rows_naming
from workers.kernel.ledger.events import ENDED, LEFT, OPEN, EventState
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.tables import acts, cases, chunks, entries, events, metadata, submissions

_WITH_A_CASE: Final = (entries, *OF_A_CASE)
"""Tables whose rows name their case."""
_OF_CASES: Final = (cases, chunks, *_WITH_A_CASE)
_MANY: Final = 500


class Erasures:
    """Finding what names a customer reads each table as a whole, so it may take minutes; nobody waits for it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows_of_cases(self, eraser: Eraser) -> Counter[str]:
        """Return how many rows of each case name the customer, with the events that led to its entries."""
        found = Counter(row["case_id"] for table in _WITH_A_CASE for row in self._naming(table, eraser))
        found += Counter(row["id"] for row in self._naming(cases, eraser))
        sent = {row["submission_id"]: 0 for row in self._naming(chunks, eraser)}
        found += self._cases_of(select(submissions.c.case_id), submissions.c.id, list(sent))
        told = [row["id"] for row in self._naming(events, eraser)]
        return found + self._cases_of(
            select(entries.c.case_id, entries.c.event_id).distinct(), entries.c.event_id, told
        )

    def other_rows(self, eraser: Eraser) -> dict[str, int]:
        """Return how many rows of no case name the customer, by table; acts that ask to forget him are none."""
        found = {table.name: len(self._naming(table, eraser, *chosen)) for table, chosen in _others()}
        return {name: count for name, count in found.items() if count}

    def open_events(self, eraser: Eraser) -> list[str]:
        """Return the events that name the customer and are not worked on yet."""
        return sorted(row["id"] for row in self._naming(events, eraser, events.c.state.in_(OPEN)))

    def failed_events(self, eraser: Eraser) -> list[str]:
        """Return the events that name the customer and led to nothing: what they tell of him is in no case."""
        return sorted(row["id"] for row in self._naming(events, eraser, events.c.state == EventState.FAILED))

    def open_acts(self, eraser: Eraser) -> list[str]:
        """Return the acts that name the customer and wait for somebody, but for those that ask to forget him."""
        waiting = acts.c.state.in_([ActState.ASKED, ActState.SHOWN, ActState.APPROVED]), acts.c.kind != FORGET
        return sorted(row["id"] for row in self._naming(acts, eraser, *waiting))

    def erase_others(self, eraser: Eraser, act_id: str) -> dict[str, str | None]:
        """Erase the customer from the rows of no case; return what is left of the events among them.

        A rule that names him holds no longer: it would bill a mark. Each row is read anew when it is written to, so
        that nobody waits for more than one, and what an earlier try has done is told with the rest.
        """
        for table, chosen in _others():
            for row in self._naming(table, eraser, *chosen):
                here = and_(*(column == row[column.name] for column in table.primary_key), *chosen)
                with self._database.write() as connection:
                    if table is not events:
                        erase_rows(connection, table, eraser, here)
                    if table is acts:
                        erase_rows(connection, table, replace(eraser, boldly=True), here)
                    for there in rows_naming(connection, events, eraser, here) if table is events else ():
                        erase_event(connection, there, eraser, act_id)
        return self._left_alone(act_id)

    def told(self) -> dict[str, set[str | None]]:
        """Return what entries and acts tell of what is left of events: event id -> digests of their bodies."""
        said = select(entries.c.detail).where(entries.c.kind == EntryKind.ERASED)
        done = select(acts.c.outcome).where(acts.c.kind == FORGET, acts.c.state == ActState.DONE)
        begun = select(acts.c.id).where(acts.c.kind == FORGET, acts.c.state == ActState.APPROVED)
        left = [detail.get(EVENTS, {}) for query in (said, done) for detail in self._database.values(query)]
        left += map(self._left_alone, self._database.values(begun))
        told: dict[str, set[str | None]] = {}
        for event_id, digest in chain.from_iterable(one.items() for one in left):
            told.setdefault(event_id, set()).add(digest)
        return told

    def _left_alone(self, act_id: str) -> dict[str, str | None]:
        """Return what an act has left of events that no case answers for."""
        query = select(events.c.id, events.c.erased).where(events.c.erased.is_not(None), _ALONE)
        erased = self._database.rows(query)
        return {row["id"]: row["erased"][LEFT] for row in erased if row["erased"][ACT] == act_id}

    def _naming(self, table: Table, eraser: Eraser, *chosen: ColumnElement[bool]) -> list[dict[str, Any]]:
        with self._database.read() as connection:
            _let_it_take_long(connection)
            return list(rows_naming(connection, table, eraser, *chosen))

    def _cases_of(self, query: Select[Any], column: ColumnElement[Any], ids: list[str]) -> Counter[str]:
        found = Counter[str]()
        for first in range(0, len(ids), _MANY):
            some = query.where(column.in_(ids[first : first + _MANY]))
            found += Counter(row["case_id"] for row in self._database.rows(some))
        return found


def _let_it_take_long(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))


_ALONE: Final = events.c.id.not_in(select(entries.c.event_id).where(entries.c.event_id.is_not(None)))
"""Events that led to no entry: no case answers for them."""
_MEANT: Final[Mapping[Table, tuple[ColumnElement[bool], ...]]] = {
    events: (_ALONE, events.c.state.in_(ENDED)),
    acts: (acts.c.kind != FORGET,),
}


def _others() -> Iterator[tuple[Table, tuple[ColumnElement[bool], ...]]]:
    """Yield the tables with rows that are of no case, and which rows these are."""
    for table in metadata.sorted_tables:
        if table not in _OF_CASES:
            yield table, _MEANT.get(table, ())
