"""An open usage file: cut into parts, read part by part into canonical frames."""

import io
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Final, Protocol, Self, TypeVar

import polars as pl
from polars.exceptions import PolarsError

from workers.kernel.errors import FileUnusable
from workers.records.files.csv_grammar import FEW_QUOTES, quoted_lines
from workers.records.files.csv_part import CsvReader
from workers.records.files.decode import temporary_room
from workers.records.files.json_part import JsonReader
from workers.records.files.layout import Format, Layout, Part
from workers.records.files.split import csv_segments, cut, json_segments
from workers.records.schema import (
    RAW,
    READER_COLUMNS,
    REQUIRED_COLUMNS,
    SOURCE,
    Records,
    original_columns,
    template_order,
    with_columns_of,
)

TARGET_BYTES: Final = 4 << 20
"""Default size of a part: small enough for the allocator to use its memory again, and about as fast as any."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Text that is read again when it is wanted; each record is a line. `quoted` are rows (Int64) with quotes."""

    read: Callable[[], bytes]
    quoted: pl.Series


class OfRecords(Protocol):
    """What was made of records, and tells of how many."""

    @property
    def records(self) -> int:
        """All of them, whatever became of them."""
        ...


Made = TypeVar("Made", bound=OfRecords)


class UsageFile:
    """An open usage file. Safe to read from several threads at once; closed by `close`, `with`, or when let go.

    `has_open_columns` says that a later record can bring a column that no earlier one has.
    """

    def __init__(self, layout: Layout, text: IO[bytes], start: int, reader: CsvReader | JsonReader) -> None:
        self.layout = layout
        self.has_open_columns = isinstance(reader, JsonReader) or bool(reader.nesting.columns)
        self._fd = os.dup(text.fileno())
        self._close = weakref.finalize(self, os.close, self._fd)
        self._written = self._last_written()
        self._start, self._end = start, os.fstat(self._fd).st_size
        self._reader = reader
        self._kept = _KeptFrames() if self.has_open_columns else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and of what was kept of it on disk."""
        self._close()
        if self._kept is not None:
            self._kept.close()

    @property
    def header_columns(self) -> tuple[str, ...]:
        """The columns that every part has: those of a CSV file's header, and the required ones."""
        named = list(self._reader.columns) if isinstance(self._reader, CsvReader) else []
        return tuple(named + [name for name in REQUIRED_COLUMNS if name not in named])

    def parts(self, target_bytes: int = TARGET_BYTES) -> Iterator[Part]:
        """Cut the file into parts of about `target_bytes`; raises FileUnusable where it cannot be cut."""
        scan = partial(csv_segments, self._reader.grammar) if isinstance(self._reader, CsvReader) else json_segments
        return cut(self._bytes, self._start, self._end, scan, target_bytes, self.layout.name)

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the part as a canonical frame in the file's order.

        `columns` asks for just these of the sender's columns, in this order, null where the part has none of them;
        the default is all that the part has, and the required ones. `READER_COLUMNS` are always there. Raises
        FileUnusable if the file no longer is what it was when it was cut.
        """
        frame = self._kept.get(part.offset) if self._kept is not None else None
        if frame is None or frame.height != part.rows:
            frame = self._parse(part, columns)
        return self._canonical(frame, columns)

    def work_through(self, part: Part, columns: Sequence[str], work: Callable[[pl.LazyFrame], Made]) -> Made:
        """Put the part's records, as `read` returns them, through `work`, reading them on the way where possible.

        `work` may be called a second time, with records that were read with more care. Raises FileUnusable.
        """
        records = self._scanned(part, columns)
        if records is not None:
            with suppress(PolarsError):
                made = work(records)
                if made.records == part.rows:
                    return made
        return work(self.read(part, columns).lazy())

    def _scanned(self, part: Part, columns: Sequence[str]) -> pl.LazyFrame | None:
        if not isinstance(self._reader, CsvReader) or self.has_open_columns or not part.plain:
            return None
        records = self._reader.scan(self._whole_part(part), part, columns)
        return None if records is None else self._whole(records, columns)

    def lines(self, part: Part, columns: Sequence[str]) -> Lines | None:
        """Return the part's lines where a CSV template of `columns` has the same, but for quotes in a few of them.

        Raises FileUnusable, also when they are read and are no longer what they were.
        """
        reader = self._reader
        if not isinstance(reader, CsvReader) or not part.plain or reader.columns != list(columns):
            return None
        if reader.grammar.delimiter != "," or b"\r" in (text := self._text_of_lines(part)):
            return None
        quoted = quoted_lines(text, most=part.rows // FEW_QUOTES)
        if quoted is None:
            return None
        return Lines(partial(self._text_of_lines, part), pl.Series(quoted, dtype=pl.Int64) + part.first_row)

    def _text_of_lines(self, part: Part) -> bytes:
        text = self._whole_part(part)
        return text if text.endswith(b"\n") else text + b"\n"

    def read_and_keep(self, part: Part) -> pl.DataFrame:
        """Read all columns of the part, and keep them on disk where that is cheaper than to parse them again."""
        frame = self._parse(part, None)
        if self._kept is not None:
            self._kept.put(part.offset, frame)
        return self._canonical(frame, None)

    def _parse(self, part: Part, columns: Sequence[str] | None) -> pl.DataFrame:
        data = self._whole_part(part)
        if isinstance(self._reader, CsvReader):
            frame = self._reader.read(data, part, columns)
        else:
            at_end = part.offset + part.length >= self._end
            frame = self._reader.read(data, part, columns, cut=at_end and not data.endswith(b"\n"))
        if frame.height != part.rows:
            raise self._has_changed()
        return frame

    def _whole_part(self, part: Part) -> bytes:
        data = self._bytes(part.offset, part.length)
        self.require_unchanged()
        if len(data) != part.length:
            raise self._has_changed()
        return data

    def require_unchanged(self) -> None:
        """Raise FileUnusable where it was written to since it was opened: what was judged must be what is sent."""
        if self._last_written() != self._written:
            raise self._has_changed()

    def _last_written(self) -> int:
        """Return when the file was last written to, in nanoseconds."""
        return os.fstat(self._fd).st_mtime_ns

    def _has_changed(self) -> FileUnusable:
        return FileUnusable("it has changed since it was cut into parts", where=self.layout.name, mend="start over")

    def _canonical(self, frame: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
        if self.layout.format is Format.JSON and RAW in frame.columns:
            frame = frame.with_columns(pl.col(RAW).str.replace_all("\r", "\n", literal=True))
        return self._whole(frame, self.columns_of(frame) if columns is None else columns)

    def _whole(self, records: Records, columns: Sequence[str]) -> Records:
        """Name the source, and add the columns that are absent."""
        named = records.with_columns(pl.lit(self.layout.name).alias(SOURCE))
        return with_columns_of(named, (*columns, *READER_COLUMNS)).select(*columns, *READER_COLUMNS)

    def columns_of(self, frame: pl.DataFrame) -> list[str]:
        """Return the frame's sender's columns: in the header's order, or where they are open in the template's."""
        present = original_columns(frame.columns)
        present += [name for name in REQUIRED_COLUMNS if name not in present]
        return template_order(present) if self.has_open_columns else present

    def _bytes(self, offset: int, length: int) -> bytes:
        chunks = []
        while length > 0 and (chunk := os.pread(self._fd, length, offset)):
            chunks.append(chunk)
            offset, length = offset + len(chunk), length - len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _KeptFrames:
    """Frames put aside between two passes in an unnamed temporary file, by the offsets of their parts.

    It only saves work: where the disk has no room a frame is not kept, and is made again.
    """

    def __init__(self) -> None:
        with temporary_room(), TemporaryFile() as file:
            self._fd = os.dup(file.fileno())
        self.close = weakref.finalize(self, os.close, self._fd)
        self._lock, self._end = threading.Lock(), 0
        self._places: dict[int, tuple[int, int]] = {}

    def put(self, offset: int, frame: pl.DataFrame) -> None:
        """Keep a frame; may be called by several threads."""
        data = io.BytesIO()
        frame.write_ipc(data, compression="uncompressed")
        with data.getbuffer() as view:
            with self._lock:
                start, self._end = self._end, self._end + len(view)
            with suppress(OSError):
                if os.pwrite(self._fd, view, start) == len(view):
                    self._places[offset] = (start, len(view))

    def get(self, offset: int) -> pl.DataFrame | None:
        """Return the frame that is kept of the part; None where none is."""
        if offset not in self._places:
            return None
        start, length = self._places[offset]
        return pl.read_ipc(os.pread(self._fd, length, start))
