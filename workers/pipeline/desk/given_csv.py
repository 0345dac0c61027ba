"""A CSV as a spreadsheet has written it: its marks and its encoding found out, its rows known by their key."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.pipeline.audit.case_csv import KEY_PREFIX, Sheet
from workers.pipeline.record_sets import RECORD
from workers.records.files.decode import why_not
from workers.records.schema import is_payload

LINE: Final = "@line"
"""The line of a row, counted as a person does: the header is the first."""
_DELIMITERS: Final = (",", ";", "\t")
_KEY: Final = re.compile(rf"^\s*{KEY_PREFIX}(\d{{1,15}})\s*$", re.ASCII | re.IGNORECASE)
_MOST_NEW: Final = 100
"""Payload columns that a person may add: each costs milliseconds, and a file may name a million."""
_EXPORT: Final = "`metermend quarantine CASE -o FILE` writes it"


class GivenCsv:
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
        keys = {LINE: [line for line, _ in lines], RECORD: [int(match[1]) for match in numbers if match]}
        self.columns.remove(key)
        self.frame = pl.DataFrame({**keys, **cells}, schema={**dict.fromkeys(keys, pl.Int64), **_texts(cells)})
        self._require_known(key, there)

    def wrong(self, line: int, column: str, what: str, mend: str = "nothing was done") -> InputUnusable:
        return InputUnusable(what, where=f"{self.path.name} row {line}, column {column}", mend=mend)

    def _require_known(self, key: str, there: Sheet) -> None:
        doubled = self.frame.filter(pl.col(RECORD).is_duplicated())
        if not doubled.is_empty():
            raise self.wrong(
                doubled.item(1, LINE), key, f"{KEY_PREFIX}{doubled.item(1, RECORD)} stands there twice"
            )
        unknown = self.frame.join(there.records.select(RECORD).collect(), on=RECORD, how="anti")
        if not unknown.is_empty():
            what = f"no record {KEY_PREFIX}{unknown.item(0, RECORD)} of the case is quarantined"
            raise self.wrong(unknown.item(0, LINE), key, what)


def _texts(names: Mapping[str, object]) -> dict[str, type[pl.String]]:
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
            if len(columns) > len(known) + _MOST_NEW:
                raise InputUnusable("no record has so many columns", where=where, mend="nothing was done")
        elif any(row[at].strip() for row in rows if at < len(row)):
            raise InputUnusable("the quarantine has no such column", where=where, mend="nothing was done")
    return columns
