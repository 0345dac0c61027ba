"""Erasing one customer from rows of the ledger: each that names him loses his names, and the chains lead on.

What belongs to a case is erased in a commit of that case, whose `erased` entry has the digests of what is left: an
entry keeps its hash and an event its digest, so that `prove` takes exactly this change and no other. What belongs
to none is `erasures.py`'s.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    cast,
    delete,
    false,
    func,
    or_,
    select,
    true,
    update,
)

from workers.kernel.awaited_names import CUSTOMER
from workers.kernel.erasing import ERASED, Eraser
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.events import ENDED, LEFT, RECEIVED_AS, digest_of
from workers.kernel.ledger.hash_chain import entry_hash, genesis
from workers.kernel.ledger.tables import (
    acts,
    awaited,
    case_examples,
    case_names,
    cases,
    chunks,
    entries,
    events,
    incident_cases,
    recoveries,
    rules,
    standings,
    submissions,
)

ACT: Final = "act"
EVENTS: Final = "events"
"""Where it is told what is left of events: event id -> digest of the body, None where nothing is left of it."""
OF_A_CASE: Final = (case_names, case_examples, standings, awaited, recoveries, incident_cases, submissions)
"""Tables with a `case_id` whose rows are erased with their case, beside those that are told below."""
_FAILURE: Final = tuple(Failure.__dataclass_fields__)


@dataclass(frozen=True)
class ErasedFromCase:
    """What erasing a customer from a case has changed in its rows.

    `entries` and `events` have the digests of what is left. `failure` has what is known of the case itself, where
    that named him, and `columns` what else stands in its row. `genesis` is told where the case's key had to go.
    """

    entries: Mapping[str, str]
    events: Mapping[str, str | None]
    failure: Mapping[str, str]
    columns: Mapping[str, Any]
    genesis: str | None


def erase_from_case(
    connection: Connection, case_id: str, eraser: Eraser, records: Collection[int], act_id: str
) -> ErasedFromCase:
    """Erase a customer from the rows of a case that is held; `records` are the numbers of his records.

    The case's own row is left to the caller, who writes to it in the same commit.
    """
    mine = connection.execute(select(cases).where(cases.c.id == case_id)).mappings().one()
    changed = _changed(cases, dict(mine), eraser)
    key = changed.pop("key", None)
    if key is not None:
        key = f"{ERASED}:{case_id}"  # keys are told apart, and two customers may be erased from the like
    failure = {name: changed.pop(name) for name in _FAILURE if name in changed} | ({"key": key} if key else {})
    theirs = _event_rows(connection, case_id, eraser)
    left = {row["id"]: erase_event(connection, row, eraser, act_id) for row in theirs}
    _erase_examples(connection, case_id, records)
    _forget_names(connection, case_id, eraser)
    for table in OF_A_CASE:
        erase_rows(connection, table, eraser, table.c.case_id == case_id)
    sent = select(submissions.c.id).where(submissions.c.case_id == case_id)
    erase_rows(connection, chunks, eraser, chunks.c.submission_id.in_(sent))
    erase_rows(connection, acts, eraser, acts.c.subject == case_id)
    told = _erase_entries(connection, case_id, eraser)
    return ErasedFromCase(told, left, failure, changed, genesis(mine["key"]) if key else None)


def _erase_entries(connection: Connection, case_id: str, eraser: Eraser) -> dict[str, str]:
    """Erase from a case's entries and return the digest of what is left of each that has changed, by number."""
    told: dict[str, str] = {}
    book = select(entries).where(entries.c.case_id == case_id).order_by(entries.c.number)
    for row in map(dict, connection.execute(book).mappings().all()):
        changed = _changed(entries, row, eraser)
        if changed:
            told[str(row["number"])] = entry_hash({**row, **changed})
            here = and_(entries.c.case_id == case_id, entries.c.number == row["number"])
            connection.execute(update(entries).where(here).values(changed))
    return told


def _erase_examples(connection: Connection, case_id: str, records: Collection[int]) -> None:
    """Leave the customer's records out of those that a case is shown by."""
    here = case_examples.c.case_id == case_id
    row = connection.execute(select(case_examples).where(here)).mappings().one_or_none()
    if row is not None:
        kept = {name: [one for one in row[name] if one["record"] not in records] for name in ("samples", "changes")}
        connection.execute(update(case_examples).where(here).values(kept))


def _forget_names(connection: Connection, case_id: str, eraser: Eraser) -> None:
    """Remove the rows by which a case is found by the customer, also by names that are like words."""
    awaiting = [f"{CUSTOMER}{name}" for name in eraser.names]
    for column, names in (
        (case_names.c.name, eraser.names),
        (standings.c.customer, eraser.names),
        (awaited.c.name, awaiting),
    ):
        connection.execute(delete(column.table).where(column.table.c.case_id == case_id, column.in_(names)))


def _event_rows(connection: Connection, case_id: str, eraser: Eraser) -> list[dict[str, Any]]:
    theirs = select(entries.c.event_id).where(entries.c.case_id == case_id, entries.c.event_id.is_not(None))
    return list(rows_naming(connection, events, eraser, events.c.id.in_(theirs), events.c.state.in_(ENDED)))


def erase_event(connection: Connection, row: Mapping[str, Any], eraser: Eraser, act_id: str) -> str | None:
    """Erase a customer from an event and return the digest of what is left of its body.

    An event that is about him, such as that he was created, tells more of him than his id: nothing is left of it.
    """
    is_about = row["object_id"] in eraser.names
    changed = _changed(events, row, eraser) | ({"raw": None, "fetched": None} if is_about else {})
    raw = changed.get("raw", row["raw"])
    left = None if raw is None else sha256(raw).hexdigest()
    changed["erased"] = {ACT: act_id, RECEIVED_AS: digest_of(row), LEFT: left}
    connection.execute(update(events).where(events.c.id == row["id"]).values(changed))
    return left


def erase_rows(connection: Connection, table: Table, eraser: Eraser, *chosen: ColumnElement[bool]) -> int:
    """Erase a customer from rows of a table and return how many; a row whose key names him goes as a whole."""
    keys = [column.name for column in table.primary_key]
    count = 0
    for row in _candidates(connection, table, eraser, *chosen):
        changed = _changed(table, row, eraser)
        if changed:
            count += 1
            here = and_(*(table.c[name] == row[name] for name in keys))
            goes = table is rules or not changed.keys().isdisjoint(keys)
            connection.execute(delete(table).where(here) if goes else update(table).where(here).values(changed))
    return count


def _changed(table: Table, row: Mapping[str, Any], eraser: Eraser) -> dict[str, Any]:
    """Return the columns of a row that name the customer, or a file that was written anew, as they are without."""
    erased = {
        column.name: eraser.value(row[column.name])
        for column in _texts(table, eraser)
        if row[column.name] is not None
    }
    return {name: value for name, value in erased.items() if value != row[name]}


def rows_naming(
    connection: Connection, table: Table, eraser: Eraser, *chosen: ColumnElement[bool]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table that hold a name."""
    bare = Eraser(eraser.names)
    yield from (row for row in _candidates(connection, table, bare, *chosen) if _changed(table, row, bare))


def _candidates(
    connection: Connection, table: Table, eraser: Eraser, *chosen: ColumnElement[bool]
) -> Iterator[dict[str, Any]]:
    """Yield rows that may hold a name, or anything that the eraser changes."""
    wanted = [*eraser.told, *eraser.files]
    spelled = {*wanted, *(json.dumps(text)[1:-1] for text in wanted)}  # as it stands in JSON, too
    found = or_(
        false(), *(_holds(connection, column, text) for column in _texts(table, eraser) for text in sorted(spelled))
    )
    yield from map(dict, connection.execute(select(table).where(and_(true(), *chosen), found)).mappings().all())


def _texts(table: Table, eraser: Eraser) -> list[Column[Any]]:
    types = JSON if eraser.boldly else (String, JSON, LargeBinary)
    return [column for column in table.columns if isinstance(column.type, types)]


def _holds(connection: Connection, column: Column[Any], text: str) -> ColumnElement[bool]:
    """Tell whether a column has a text, be it text, JSON or bytes."""
    if not isinstance(column.type, LargeBinary):
        return cast(column, Text).contains(text, autoescape=True)
    if connection.dialect.name == "postgresql":
        return func.encode(column, "escape").contains(text, autoescape=True)
    return func.instr(column, text.encode()) > 0
