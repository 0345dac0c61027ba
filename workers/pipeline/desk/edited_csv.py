"""A case's quarantine that comes back from a spreadsheet: which cells a person has edited, and which he may not.

Records are matched by the column `record`, so rows may be sorted, left out, and their columns moved. What a
spreadsheet does by itself is no edit: the mark between cells, line ends, a byte order mark, an apostrophe of ours,
and numbers that it writes its own way (`007` as `7`, an identifier as `1.23457E+19`), which are reported.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from decimal import Context as Arithmetic
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.journal import WAITING, Bucket
from workers.pipeline.audit.case_csv import KEY_PREFIX, Sheet, sheet
from workers.pipeline.context import Context
from workers.pipeline.record_sets import RECORD
from workers.records.files.decode import why_not
from workers.records.files.write import has_our_apostrophe
from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP, is_payload

COLUMN: Final = "column"
BEFORE: Final = "before"
AFTER: Final = "after"
EDITS_SCHEMA: Final = {RECORD: pl.Int64(), COLUMN: pl.String(), BEFORE: pl.String(), AFTER: pl.String()}
"""One row for each edited cell; null is an empty one."""

_LINE: Final = "@line"
_DELIMITERS: Final = (",", ";", "\t")
_KEY: Final = re.compile(rf"^\s*{KEY_PREFIX}(\d{{1,15}})\s*$", re.ASCII | re.IGNORECASE)
_PLAIN: Final = re.compile(r"^[+-]?\d+(\.\d+)?$", re.ASCII)
_EXPONENT: Final = re.compile(r"^[+-]?\d+([.,]\d+)?[eE][+-]?\d+$", re.ASCII)
_SPREADSHEET_DIGITS: Final = 15
_EXPORT: Final = "`metermend quarantine CASE -o FILE` writes it"
_MAY_CHANGE: Final = (
    "only timestamp, event_name and payload columns may change, and an identifier where there was none"
)


@dataclass(frozen=True)
class Edits:
    """The edited cells (`EDITS_SCHEMA`), and a sentence for each that a spreadsheet has written its own way."""

    cells: pl.DataFrame
    left: Sequence[str] = ()


def read_edits(context: Context, case_id: str, path: Path) -> Edits:
    """Return what was edited in the quarantine of a case. Raises InputUnusable with row and column."""
    there = sheet(context, case_id, Bucket.QUARANTINED)
    if there is None:
        raise InputUnusable("no record of it is quarantined", where=case_id)
    edits = _edits(_Given(path, there), there)
    if edits.cells.is_empty():
        reported = f"; {edits.left[0]}" if edits.left else ""
        raise InputUnusable(f"no cell was edited{reported}", where=str(path), mend=_MAY_CHANGE)
    return edits


def edit_of(context: Context, case_id: str, key: str, field: str, value: str) -> Edits:
    """Return the edit of one cell of a waiting record. Raises InputUnusable."""
    for bucket in WAITING:
        there = sheet(context, case_id, bucket)
        if there is None:
            continue
        record = int(key.removeprefix(KEY_PREFIX)) if key.removeprefix(KEY_PREFIX).isdecimal() else -1
        found = there.records.filter(pl.col(RECORD) == record).collect()
        if not found.is_empty():
            columns = {header: name for name, header in there.headers.items()}
            column = columns.get(field, field)
            before = found.item(0, column) if column in found.columns else None
            if not _may_change(column, before):
                raise InputUnusable("it may not be changed", where=field, mend=_MAY_CHANGE)
            if (before or "") == value:
                raise InputUnusable("that is what stands there", where=field)
            row = {RECORD: record, COLUMN: column, BEFORE: before, AFTER: value or None}
            return Edits(pl.DataFrame([row], schema=EDITS_SCHEMA))
    raise InputUnusable("no such record waits", where=key, mend=f"metermend quarantine {case_id}")


class _Given:
    """A CSV as it came back: `columns` are its headers, `frame` its cells with the key and the line of each row."""

    def __init__(self, path: Path, there: Sheet) -> None:
        self.path = path
        key = there.headers[RECORD]
        rows = _rows(path, key)
        header = [name.strip() for name in rows[0]]
        self.columns = _columns(path, header, rows[1:], {*there.headers.values()})
        lines = [(line, row) for line, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
        for line, row in lines:
            if any(cell.strip() for cell in row[len(header) :]):
                raise self.wrong(line, str(len(header) + 1), "a cell stands beyond the header")
        cells = {
            name: [row[at] if at < len(row) else "" for _, row in lines]
            for at, name in enumerate(header)
            if name in self.columns
        }
        numbers = [_KEY.match(text) for text in cells.pop(key)]
        for (line, _), match in zip(lines, numbers, strict=True):
            if match is None:
                raise self.wrong(line, key, "it names no record of the case")
        keys = {_LINE: [line for line, _ in lines], RECORD: [int(match[1]) for match in numbers if match]}
        self.columns.remove(key)
        self.frame = pl.DataFrame({**keys, **cells}, schema={**dict.fromkeys(keys, pl.Int64), **_texts(cells)})
        self._require_known(key, there)

    def wrong(self, line: int, column: str, what: str, mend: str = "nothing was done") -> InputUnusable:
        return InputUnusable(what, where=f"{self.path.name} row {line}, column {column}", mend=mend)

    def _require_known(self, key: str, there: Sheet) -> None:
        doubled = self.frame.filter(pl.col(RECORD).is_duplicated())
        if not doubled.is_empty():
            raise self.wrong(
                doubled.item(1, _LINE), key, f"{KEY_PREFIX}{doubled.item(1, RECORD)} stands there twice"
            )
        unknown = self.frame.join(there.records.select(RECORD).collect(), on=RECORD, how="anti")
        if not unknown.is_empty():
            what = f"no record {KEY_PREFIX}{unknown.item(0, RECORD)} of the case is quarantined"
            raise self.wrong(unknown.item(0, _LINE), key, what)


def _texts(names: Sequence[str] | dict[str, list[str]]) -> dict[str, type[pl.String]]:
    return dict.fromkeys(names, pl.String)


def _rows(path: Path, key: str) -> list[list[str]]:
    """Read the file by the mark between cells that its header shows."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputUnusable(why_not(error), where=str(path), mend=_EXPORT) from error
    text = _text(data)
    delimiter = next((mark for mark in _DELIMITERS if key in _header(text, mark)), None)
    if delimiter is None:
        raise InputUnusable(f"it has no column {key}, by which a record is known", where=str(path), mend=_EXPORT)
    try:
        return list(_reader(text, delimiter))
    except csv.Error as error:
        raise InputUnusable(f"no CSV: {error}", where=str(path), mend=_EXPORT) from error


def _header(text: str, delimiter: str) -> list[str]:
    """Return the first row's cells; none where that mark does not stand between them."""
    try:
        return [cell.strip() for cell in next(_reader(text, delimiter), [])]
    except csv.Error:
        return []


def _reader(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _text(data: bytes) -> str:
    """Decode as spreadsheets write: UTF-8, UTF-16 with its mark, or the Windows code page."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _columns(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], known: set[str]) -> list[str]:
    """Return the headers that mean something: those of the quarantine, and payload columns that were added."""
    columns: list[str] = []
    for at, name in enumerate(header):
        where = f"{path.name} row 1, column {name or at + 1}"
        if name in columns:
            raise InputUnusable("the column stands there twice", where=where, mend="nothing was done")
        if name in known or is_payload(name):
            columns.append(name)
        elif any(row[at].strip() for row in rows if at < len(row)):
            raise InputUnusable("the quarantine has no such column", where=where, mend="nothing was done")
    return columns


def _edits(given: _Given, there: Sheet) -> Edits:
    """Compare cell by cell with what stands there."""
    names = {header: name for name, header in there.headers.items()}
    stands = there.records.collect()
    shown = Sheet(stands.lazy(), there.headers).cells().collect()
    edited: list[dict[str, object]] = []
    left: list[str] = []
    for header in given.columns:
        column = names.get(header, header)
        for line, record, before, cell in _changed(given.frame, stands, shown, header, column):
            if is_reformatted(before or "", cell):
                left.append(f"row {line}, column {header}: {before} came back as {cell}; it stays {before}")
            elif _may_change(column, before):
                edited.append({RECORD: record, COLUMN: column, BEFORE: before, AFTER: cell or None})
            else:
                raise given.wrong(line, header, f"{before or 'an empty cell'} was changed to {cell!r}", _MAY_CHANGE)
    return Edits(pl.DataFrame(edited, schema=EDITS_SCHEMA).sort(RECORD, COLUMN), left)


def _changed(
    given: pl.DataFrame, stands: pl.DataFrame, shown: pl.DataFrame, header: str, column: str
) -> Iterator[tuple[int, int, str | None, str]]:
    """Yield line, record, the text that stands there and the one that came back, where they are not the same."""
    before = stands[column].cast(pl.String) if column in stands.columns else pl.lit(None, pl.String)
    printed = shown[header].cast(pl.String) if header in shown.columns else pl.lit("")
    both = stands.select(RECORD, pl.lit(before).alias(BEFORE), pl.lit(printed).alias("@shown"))
    cells = given.select(_LINE, RECORD, pl.col(header).alias(AFTER)).join(both, on=RECORD, maintain_order="left")
    back = _unified(pl.col(AFTER))
    same = (back == _unified(pl.col("@shown"))) | (back == _unified(pl.col(BEFORE)))
    bare = pl.when(has_our_apostrophe(back)).then(back.str.slice(1)).otherwise(back)
    yield from cells.filter(~same).select(_LINE, RECORD, BEFORE, bare.alias(AFTER)).iter_rows()


def _unified(text: pl.Expr) -> pl.Expr:
    return text.fill_null("").str.replace_all("\r\n", "\n", literal=True)


def _may_change(column: str, before: str | None) -> bool:
    is_open = column in (TIMESTAMP, EVENT_NAME) or is_payload(column)
    return is_open or (column == IDENTIFIER and not before)


def is_reformatted(before: str, cell: str) -> bool:
    """Tell whether a cell says what it said, as a spreadsheet writes it: another form of one number or truth value.

    Who writes out a number that stood there with an exponent has edited it: a spreadsheet never does.
    """
    was, now = before.strip(), cell.strip()
    if was.casefold() in ("true", "false"):
        return was.casefold() == now.casefold()
    if _EXPONENT.match(was) and not _EXPONENT.match(now):
        return False
    old, new = _number(was), _number(now)
    if old is None or new is None:
        return False
    if old == new:
        return True
    digits = len(old.as_tuple().digits)
    shown = max(len(new.normalize().as_tuple().digits), 1)
    rounded = _EXPONENT.match(now) is not None or digits > _SPREADSHEET_DIGITS
    return rounded and shown <= _SPREADSHEET_DIGITS and new in _cut(old, shown, exact=bool(_EXPONENT.match(now)))


def _cut(number: Decimal, digits: int, *, exact: bool) -> set[Decimal]:
    """Return a number rounded to so many digits; a spreadsheet that keeps 15 of them cuts the others off."""
    kept = digits if exact else _SPREADSHEET_DIGITS
    modes = (ROUND_HALF_UP, ROUND_DOWN)
    return {Arithmetic(prec=kept, rounding=mode).plus(number) for mode in modes}


def _number(text: str) -> Decimal | None:
    if _PLAIN.match(text):
        return Decimal(text)
    return Decimal(text.replace(",", ".")) if _EXPONENT.match(text) else None
