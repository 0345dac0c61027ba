"""Writing canonical frames to files that appear whole or not at all."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.records.schema import MAX_FILE_RECORDS, original_name
from workers.records.template import TEMPLATES, csv_header, csv_rows, template_columns


@dataclass(frozen=True)
class WrittenFile:
    """A file as it was written."""

    path: Path
    records: int
    bytes: int


class _Draft:
    """A file under a temporary name beside its place, until it is published or dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = self.bytes = 0
        self._temporary = path.with_name(f".{path.name}.part")
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self._temporary.open("wb")

    def write(self, data: bytes, records: int = 0) -> None:
        with _disk_errors(self.path):
            self._file.write(data)
        self.bytes += len(data)
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
        self._columns = self._columns or columns
        if columns != self._columns:
            raise ValueError(f"columns {columns} differ from the first frame's, {self._columns}")
        absent = [pl.lit(None, pl.String).alias(name) for name in columns if name not in frame.columns]
        rest = frame.with_columns(absent).select(columns)
        while rest.height:
            rest = rest[self._write_some(rest) :]

    def _write_some(self, frame: pl.DataFrame) -> int:
        """Write as many records as the present file takes, return how many; open the next file where none fit."""
        if not self._drafts:
            self._open()
        draft = self._drafts[-1]
        between = self._template.between if draft.records else b""
        room = self._max_bytes - draft.bytes - len(between) - len(self._template.closing)
        count, data = self._fitting(frame[: self._max_records - draft.records], room)
        if count:
            draft.write(between)
            draft.write(data, count)
        elif draft.records:
            self._end(draft)
            self._open()
        else:
            raise InputUnusable(f"a record is longer than {self._max_bytes:,} bytes", where=str(self._stem))
        return count

    def _fitting(self, frame: pl.DataFrame, room: int) -> tuple[int, bytes]:
        """Return how many of the first records fit into `room` bytes (not always all that would) and the bytes."""
        count = frame.height
        while count:
            data = self._template.rows(frame[:count])
            if len(data) <= room:
                return count, data
            count = 0 if count == 1 else max(1, min(count - 1, count * max(room, 0) // len(data)))
        return 0, b""

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


class CsvWriter(_Writer):
    """Writes the given columns as plain CSV, whatever they are, for people and for `metermend` to read again.

    `headers` maps a column to its header; a sender's column goes by its own name otherwise.
    """

    def __init__(self, path: Path, columns: Sequence[str], headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._path, self._columns = path, list(columns)
        self._headers = [(headers or {}).get(name, original_name(name)) for name in columns]

    def append(self, frame: pl.DataFrame) -> None:
        """Write the frame's rows; it must have all the columns."""
        if not frame.height:
            return
        if not self._drafts:
            self._drafts.append(_Draft(self._path))
            self._drafts[0].write(csv_header(self._headers))
        self._drafts[0].write(csv_rows(frame.select(self._columns)), frame.height)
