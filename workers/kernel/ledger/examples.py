"""A few records of each case for whoever looks at it: as Stripe refused them, and before and after their repair.

Kept in the commit that takes records in or plans them, since the pages read the ledger alone; a view that no step
of a case reads. How many there are, and how long their texts, is bounded whatever the case's size.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, delete, insert, select

from workers.kernel.ledger.database import Database
from workers.kernel.ledger.tables import case_examples
from workers.kernel.releases import known_fields

MOST: Final = 20
"""Samples, and changes, that are kept of a case; codes take turns."""
SAMPLES: Final = 2
"""Samples of one code."""
LONGEST: Final = 300
"""Characters of a text."""


@dataclass(frozen=True)
class Sample:
    """One record as it was refused. `message` is Stripe's own, None where it only counted it."""

    code: str
    record: int
    identifier: str | None
    file: str | None
    row: int | None
    message: str | None
    columns: Mapping[str, str | None]


@dataclass(frozen=True)
class Change:
    """One cell of a repaired record: what stood there, and what was put in its place. `remedy` is `code.how`."""

    code: str
    record: int
    identifier: str | None
    column: str
    before: str | None
    after: str | None
    remedy: str

    @property
    def how(self) -> str:
        """In which way it was changed, as a slug."""
        return self.remedy.rpartition(".")[2]


@dataclass(frozen=True)
class Examples:
    """What is kept of one case."""

    samples: Sequence[Sample] = ()
    changes: Sequence[Change] = ()

    @property
    def codes(self) -> list[str]:
        """The codes that there are examples of, in order."""
        return sorted({one.code for one in self.samples} | {one.code for one in self.changes})

    def first_change(self, code: str) -> Change | None:
        return next((one for one in self.changes if one.code == code), None)


class CaseExamples:
    """The case_examples table: one row for each case of which a record is known."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, case_id: str) -> Examples:
        """Return what is kept of a case."""
        with self._database.read() as connection:
            return _read(connection, case_id)


def keep_examples(connection: Connection, case_id: str, examples: Examples) -> None:
    """Add to what is kept of a case: records that Stripe names go first, and a record's last plan holds."""
    if not examples.samples and not examples.changes:
        return
    there = _read(connection, case_id)
    samples = sorted([*there.samples, *examples.samples], key=lambda one: one.message is None)
    planned = {one.record for one in examples.changes}
    changes = [*(one for one in there.changes if one.record not in planned), *examples.changes]
    kept = Examples(_spread(samples, SAMPLES), _spread(changes, MOST))
    if kept != there:
        forget_examples(connection, case_id)
        connection.execute(insert(case_examples).values(case_id=case_id, **_stored(asdict(kept))))


def forget_examples(connection: Connection, case_id: str) -> None:
    """Remove what is kept of a case, with its files."""
    connection.execute(delete(case_examples).where(case_examples.c.case_id == case_id))


def _read(connection: Connection, case_id: str) -> Examples:
    mine = select(case_examples).where(case_examples.c.case_id == case_id)
    row = connection.execute(mine).mappings().one_or_none()
    if row is None:
        return Examples()
    samples = [Sample(**known_fields(Sample, one)) for one in row["samples"]]
    return Examples(samples, [Change(**known_fields(Change, one)) for one in row["changes"]])


class _OfACode(Protocol):
    @property
    def code(self) -> str: ...


_T = TypeVar("_T", bound=_OfACode)


def _spread(found: Iterable[_T], of_each: int) -> list[_T]:
    """Return the first of each code, then the second of each, and so on, as many as are kept."""
    turns: Counter[str] = Counter()
    ranked: list[tuple[int, _T]] = []
    for one in found:
        ranked.append((turns[one.code], one))
        turns[one.code] += 1
    in_turn = sorted((turn, one.code, at) for at, (turn, one) in enumerate(ranked) if turn < of_each)
    return [ranked[at][1] for _, _, at in in_turn[:MOST]]


def _stored(value: Any) -> Any:
    """Return plain JSON with its texts cut; PostgreSQL's takes no NUL."""
    if isinstance(value, str):
        return value.replace("\0", "")[:LONGEST]
    if isinstance(value, Mapping):
        return {name: _stored(part) for name, part in value.items()}
    return [_stored(part) for part in value] if isinstance(value, (list, tuple)) else value
