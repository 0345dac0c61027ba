"""The chain over the whole ledger: each commit that adds to a case's journal is a link of it.

A case's own chain cannot show that its last entries were removed together with its head, or the whole case. One
chain would let every worker's commit wait for every other's, so there are 16 lanes, and a case's id says which is
its own. A link says at which entry and hash a case stood, and covers the link before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.hash_chain import digest
from workers.kernel.ledger.tables import cases, entries, links

LANES: Final = 16
PAGE: Final = 1_000
"""Links that are read at a time."""


def lane_of(case_id: str) -> int:
    """Return the number of a case's lane, the same for ever."""
    return sha256(case_id.encode()).digest()[0] % LANES


def genesis(lane: int) -> str:
    """Return the hash that stands before a lane's first link."""
    return sha256(f"metermend lane {lane}".encode()).hexdigest()


def link_hash(previous: str, link: Mapping[str, Any]) -> str:
    """Return the hex hash of one link; `link` has the columns of the links table."""
    return digest({"previous": previous, **{name: link[name] for name in ("case_id", "version", "head")}})


def extend(connection: Connection, case_id: str, version: int, head: str) -> None:
    """Chain where a case stands after this commit, as the last thing in it: the lane's other writers wait."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    lane = lane_of(case_id)
    last = select(links.c.number, links.c.hash).where(links.c.lane == lane).order_by(links.c.number.desc()).limit(1)
    added = None
    while added is None:  # another writer's commit can take the number after we have looked
        number, previous = connection.execute(last).first() or (0, genesis(lane))
        row = {"lane": lane, "number": number + 1, "case_id": case_id, "version": version, "head": head}
        row["hash"] = link_hash(previous, row)
        added = connection.scalar(insert(links).values(row).on_conflict_do_nothing().returning(links.c.number))


@dataclass(frozen=True)
class Link:
    """A link as the ledger holds it, and the hash of the entry that it names: None where that is gone."""

    lane: int
    number: int
    case_id: str
    version: int
    head: str
    hash: str
    entry_hash: str | None


class Links:
    """Reading the links table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_lane(self, lane: int) -> Iterator[Link]:
        """Yield a lane's links in order, reading them in pages."""
        named = and_(entries.c.case_id == links.c.case_id, entries.c.number == links.c.version)
        columns = [links.c[name] for name in Link.__dataclass_fields__ if name in links.c]
        query = select(*columns, entries.c.hash.label("entry_hash")).join_from(links, entries, named, isouter=True)
        page = query.where(links.c.lane == lane).order_by(links.c.number).limit(PAGE)
        last = 0
        while True:
            rows = self._database.rows(page.where(links.c.number > last))
            yield from (Link(**row) for row in rows)
            if len(rows) < PAGE:
                return
            last = rows[-1]["number"]

    def heads(self) -> dict[int, tuple[int, str]]:
        """Return (number, hash) of each lane's last link; a lane without links is left out."""
        newest = select(links.c.lane, func.max(links.c.number).label("number")).group_by(links.c.lane).subquery()
        last = and_(newest.c.lane == links.c.lane, newest.c.number == links.c.number)
        query = select(links.c.lane, links.c.number, links.c.hash).join(newest, last).order_by(links.c.lane)
        return {row["lane"]: (row["number"], row["hash"]) for row in self._database.rows(query)}

    def hash_at(self, lane: int, number: int) -> str | None:
        query = select(links.c.hash).where(links.c.lane == lane, links.c.number == number)
        return next(iter(self._database.values(query)), None)

    def unlinked(self) -> list[str]:
        """Return the cases that no link names as they stand."""
        named = and_(
            links.c.case_id == cases.c.id, links.c.version == cases.c.version, links.c.head == cases.c.head
        )
        query = select(cases.c.id).join_from(cases, links, named, isouter=True)
        return list(self._database.values(query.where(cases.c.version > 0, links.c.lane.is_(None))))
