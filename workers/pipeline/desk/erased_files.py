"""Files of a case without one customer: which of them tell of him, and what is written in their place.

Of his records a record set keeps what the journal counts by and what keeps them from being sent twice: numbers,
identifiers, codes, quantities. In a text file a line that tells of him becomes a mark; what no line can be read of,
such as a compressed file, becomes one as a whole.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from workers.kernel.erasing import ERASED, Eraser, is_unmistakable
from workers.kernel.ledger.journal import RecordSetRef
from workers.pipeline.context import Context
from workers.pipeline.record_sets import FOLLOWING, ORIGIN, RECORD, keep, workspace
from workers.records.schema import (
    CODE,
    CODES,
    CUSTOMER,
    EVENT_NAME,
    FAULT,
    IDENTIFIER,
    OUTCOME,
    QUANTITY,
    RAW,
    REASON,
    REQUIRED_COLUMNS,
    original_columns,
)

_KEPT: Final = frozenset({*FOLLOWING, IDENTIFIER, EVENT_NAME, QUANTITY, CODE, CODES, OUTCOME, FAULT, REASON})
"""Columns that stay of an erased record: nothing in them is about the customer, once his names are out."""
_RECORD_SET: Final = ".parquet"
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK")
"""How files begin whose lines cannot be read: gzip, Zstandard, zip and workbooks."""
_HEAD: Final = 4096
_BETWEEN_CELLS: Final = re.compile(r"""[,;\t|"']""")
_LEFT: Final = f"{ERASED}\n".encode()
_DIGEST: Final = 16
"""Digits of its digest in a file's name."""


@dataclass(frozen=True)
class Person:
    """The customer in one case: by his names, by the numbers of his records and by their identifiers."""

    eraser: Eraser
    records: frozenset[int] = frozenset()
    identifiers: frozenset[str] = frozenset()

    @cached_property
    def pattern(self) -> str:
        """The names as polars looks for them, with what stands directly before and after."""
        return f"(^|[^A-Za-z0-9])({self.eraser.words})($|[^A-Za-z0-9])"

    def owns(self, columns: Sequence[str]) -> pl.Expr:
        """Tell which rows are his by what their sender wrote of them."""
        written = [name for name in original_columns(list(columns)) if name not in REQUIRED_COLUMNS]
        says = [pl.col(name).str.contains(self.pattern) for name in (*written, RAW) if name in columns]
        called = pl.col(CUSTOMER).str.strip_chars().is_in(list(self.eraser.names)) if CUSTOMER in columns else None
        return pl.any_horizontal(pl.lit(value=False), *says, *([] if called is None else [called])).fill_null(
            value=False
        )

    def without(self, name: str) -> pl.Expr:
        """Return a column of text without the names; twice, since two in a row share what stands between them."""
        once = pl.col(name).str.replace_all(self.pattern, f"${{1}}{ERASED}${{3}}")
        return once.str.replace_all(self.pattern, f"${{1}}{ERASED}${{3}}")

    def tells(self, line: bytes) -> bool:
        """Whether a line names him or one of his records."""
        text = line.decode("utf-8", "surrogateescape")
        cells = {cell.strip() for cell in _BETWEEN_CELLS.split(text)}
        told = cells & self.identifiers
        return (
            self.eraser.is_named_in(text)
            or any(map(is_unmistakable, told))
            or (bool(told) and not cells.isdisjoint(self.eraser.names))
        )


def person_in(paths: Sequence[Path], eraser: Eraser) -> Person:
    """Find a customer's records in a case's files: those that are his in one record set are his in all."""
    sets = [pl.scan_parquet(path) for path in paths if path.suffix == _RECORD_SET]
    columns = {number: frame.collect_schema().names() for number, frame in enumerate(sets)}
    numbered = [(frame, columns[number]) for number, frame in enumerate(sets) if RECORD in columns[number]]
    nobody = Person(eraser)
    records = {
        record
        for frame, names in numbered
        for record in frame.filter(nobody.owns(names)).select(RECORD).collect()[RECORD]
    }
    identifiers = {
        text
        for frame, names in (numbered if records else [])
        for column in frame.filter(pl.col(RECORD).is_in(list(records))).select(_identifiers(names)).collect()
        for text in column.drop_nulls()
    }
    return Person(eraser, frozenset(records), frozenset(identifiers))


def _identifiers(columns: Sequence[str]) -> list[str]:
    return [name for name in (IDENTIFIER, ORIGIN) if name in columns]


def tells_of(path: Path, person: Person) -> bool:
    """Whether a file tells of a customer, or may and cannot be read."""
    if path.suffix == _RECORD_SET:
        frame = pl.scan_parquet(path)
        return not frame.filter(_about(frame, person)).head(1).collect().is_empty()
    if _is_packed(path):
        return bool(person.records)
    with path.open("rb") as lines:
        return any(map(person.tells, lines))


def may_tell_of(path: Path, eraser: Eraser) -> bool:
    """Whether a file that is of no case may tell of a customer: which records are his is not known there."""
    if _is_packed(path):
        return True
    anybody = Person(eraser, identifiers=frozenset(eraser.names))  # a name alone in a cell is his, too
    with path.open("rb") as lines:
        return any(map(anybody.tells, lines))


def _about(frame: pl.LazyFrame, person: Person) -> pl.Expr:
    texts = [pl.col(name).str.contains(person.pattern) for name in _texts(frame)]
    return pl.any_horizontal(_mine(frame, person), *texts).fill_null(value=False)


def _mine(frame: pl.LazyFrame, person: Person) -> pl.Expr:
    names = frame.collect_schema().names()
    return pl.col(RECORD).is_in(list(person.records)) if RECORD in names else person.owns(names)


def _texts(frame: pl.LazyFrame) -> list[str]:
    return [name for name, dtype in frame.collect_schema().items() if dtype == pl.String]


def keep_without(context: Context, case_id: str, name: str, path: Path, person: Person) -> RecordSetRef:
    """Keep a file of the archive as it is without the customer. Raises as the archive does."""
    label, _, ending = PurePosixPath(name).name.rpartition("-")
    if path.suffix == _RECORD_SET:
        frame = pl.scan_parquet(path)
        return keep(context, case_id, label, frame.with_columns(_cells(frame, person)))
    with workspace(context) as folder:
        left = folder / f"{label}{'.txt' if _is_packed(path) else ending[_DIGEST:]}"
        with left.open("wb") as file:
            file.writelines(_lines(path, person))
        return context.archive.keep(case_id, label, left)


def _cells(frame: pl.LazyFrame, person: Person) -> Iterator[pl.Expr]:
    mine, texts = _mine(frame, person), set(_texts(frame))
    for name in frame.collect_schema().names():
        there = person.without(name) if name in texts else pl.col(name)
        mark = pl.lit(ERASED if name == CUSTOMER else None)
        yield (there if name in _KEPT else pl.when(mine).then(mark).otherwise(there)).alias(name)


def _lines(path: Path, person: Person) -> Iterator[bytes]:
    if _is_packed(path):
        yield _LEFT
        return
    with path.open("rb") as lines:
        yield from (_LEFT if person.tells(line) else line for line in lines)


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return head.startswith(_PACKED) or b"\0" in head
