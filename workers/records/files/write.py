"""Writing canonical frames to files that appear whole or not at all."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, Self

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.records.files.stripe_formats import TEMPLATES, csv_header, csv_rows, template_columns
from workers.records.schema import MAX_FILE_RECORDS, original_name, with_columns_of

_FORMULA: Final = r"^(?:[\t\r\n]|\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20])"
"""Cells that a spreadsheet takes for a formula: they begin with `=`, `+`, `-` or `@`, also behind blanks or control
characters, and in East Asian editions their full-width forms too (OWASP, "CSV Injection"). An apostrophe before one
makes it text. A number stays as it is: nothing runs in it, and sums need it."""
_NUMBER: Final = r"^\s*[+-]?(?:[0-9]+(?:[.,][0-9]+)*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"


@dataclass(frozen=True)
class WrittenFile:
    """A file as it was written; `neutralised` cells would have run as formulas."""

    path: Path
    records: int
    bytes: int
    neutralised: int = 0


class _Draft:
    """A file under a temporary name beside its place, until it is published or dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = self.bytes = 0
        self._temporary = path.with_name(f".{path.name}.part")
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self._temporary.open("wb")

    def write(self, text: bytes, records: int = 0) -> None:
        with _disk_errors(self.path):
            self._file.write(text)
        self.bytes += len(text)
        self.records += records

    def finish(self) -> None:
        """Bring the bytes to the disk; a second call does nothing."""
        if self._file.closed:
            return
        with _disk_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def publish(self) -> WrittenFile:
        with _disk_errors(self.path):
            self._temporary.replace(self.path)
        return WrittenFile(self.path, self.records, self.bytes)

    def drop(self) -> None:
        with suppress(OSError):  # closing writes what is buffered, which a full disk refuses again
            self._file.close()
        self._temporary.unlink(missing_ok=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputUnusable(
            f"cannot be written ({error.strerror})", where=str(path), mend="make room or choose another place"
        ) from error


class _Writer:
    """What both writers share: drafts that are published together by `close`, or dropped together."""

    def __init__(self) -> None:
        self._drafts: list[_Draft] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.drop()

    def close(self) -> list[WrittenFile]:
        """Publish what was written and return it; no file where there was no record."""
        for draft in self._drafts:
            draft.finish()
        written = [draft.publish() for draft in self._drafts]
        self._drafts = []
        return written

    def drop(self) -> None:
        """Leave nothing behind."""
        for draft in self._drafts:
            draft.drop()
        self._drafts = []


class TemplateWriter(_Writer):
    """Writes records in one of Stripe's file shapes, split so that no file exceeds what Stripe takes.

    `stem` is the path without suffix: `out/corrected` gives `corrected.csv`, `corrected-2.csv` and so on. The split
    is the same however the records are divided among frames. Raises InputUnusable where the disk refuses.
    """

    def __init__(
        self,
        stem: Path,
        file_format: str = "csv",
        *,
        max_records: int = MAX_FILE_RECORDS,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__()
        self._stem, self._template = stem, TEMPLATES[file_format]
        self._max_records, self._max_bytes = max_records, max_bytes or self._template.max_bytes
        self._columns: list[str] = []

    def append(self, frame: pl.DataFrame) -> None:
        """Write the frame's records; its columns must be those of the first frame. Raises ValueError otherwise."""
        columns = template_columns(frame.columns)
        data = self._template.rows(with_columns_of(frame, columns).select(columns))
        self.append_text(data, frame.height, columns)

    def append_text(self, text: bytes, records: int, columns: Sequence[str]) -> None:
        """Write so many records that are text in the writer's format already, of these `template_columns`."""
        self._columns = self._columns or list(columns)
        if list(columns) != self._columns:
            raise ValueError(f"columns {columns} differ from the first frame's, {self._columns}")
        if not records:
            return
        if not self._drafts:
            self._open()
        if records <= self._free_records and len(text) <= self._free_bytes:
            self._write(text, records)
        else:
            self._divide(text)

    def _divide(self, text: bytes) -> None:
        """Fill the present file, and as many more as it takes."""
        ends = self._template.starts(text).tolist()
        written = 0
        while written < len(ends) - 1:
            fits = bisect_right(ends, ends[written] + self._free_bytes) - 1
            upto = min(fits, written + self._free_records)
            if upto > written:
                self._write(text[ends[written] : ends[upto]], upto - written)
                written = upto
            elif self._drafts[-1].records:
                self._end(self._drafts[-1])
                self._open()
            else:
                raise InputUnusable(f"a record is longer than {self._max_bytes:,} bytes", where=str(self._stem))

    @property
    def _free_records(self) -> int:
        return self._max_records - self._drafts[-1].records

    @property
    def _free_bytes(self) -> int:
        """Bytes of records that the present file still takes; the last record's `between` is not written."""
        draft, template = self._drafts[-1], self._template
        joint = len(template.between)
        return self._max_bytes - draft.bytes - len(template.closing) + (0 if draft.records else joint)

    def _write(self, text: bytes, records: int) -> None:
        draft, between = self._drafts[-1], self._template.between
        if draft.records:
            draft.write(between)
        draft.write(text.removesuffix(between), records)

    def _open(self) -> None:
        number = len(self._drafts) + 1
        name = self._stem.name + (f"-{number}" if number > 1 else "") + self._template.suffix
        self._drafts.append(_Draft(self._stem.with_name(name)))
        self._drafts[-1].write(self._template.opening(self._columns))

    def _end(self, draft: _Draft) -> None:
        draft.write(self._template.closing)
        draft.finish()

    def close(self) -> list[WrittenFile]:
        if self._drafts:
            self._drafts[-1].write(self._template.closing)
        return super().close()


def is_formula(column: pl.Expr) -> pl.Expr:
    """Tell of each text whether a spreadsheet would take it for a formula; null for null."""
    return column.str.contains(_FORMULA) & ~column.str.contains(_NUMBER)


def has_our_apostrophe(column: pl.Expr) -> pl.Expr:
    """Tell of each text whether it begins as `for_spreadsheet` writes a formula; null for null."""
    return column.str.starts_with("'") & is_formula(column.str.slice(1))


def for_spreadsheet(column: pl.Expr) -> pl.Expr:
    """Return each text as a spreadsheet shows it and never runs it: a formula gets a leading apostrophe."""
    return pl.when(is_formula(column)).then(column.str.replace("^", "'")).otherwise(column)


class CsvWriter(_Writer):
    """Writes the given columns as plain CSV, whatever they are, for a person: in a spreadsheet no cell runs.

    `headers` maps a column to its header; a sender's column goes by its own name otherwise.
    """

    def __init__(self, path: Path, columns: Sequence[str], headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._path, self._columns, self._neutralised = path, list(columns), 0
        self._headers = [(headers or {}).get(name, original_name(name)) for name in columns]

    def append(self, frame: pl.DataFrame) -> None:
        """Write the frame's rows; it must have all the columns."""
        if not frame.height:
            return
        if not self._drafts:
            self._drafts.append(_Draft(self._path))
            self._drafts[0].write(csv_header(self._headers))
        cells = frame.select(self._columns)
        texts = pl.col(pl.String)
        self._neutralised += sum(cells.select(is_formula(texts).sum()).row(0))
        self._drafts[0].write(csv_rows(cells.with_columns(for_spreadsheet(texts))), frame.height)

    def close(self) -> list[WrittenFile]:
        return [replace(file, neutralised=self._neutralised) for file in super().close()]
