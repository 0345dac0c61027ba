"""An Excel workbook (.xlsx, .xlsm) as CSV: its first sheet, row by row, in bounded memory.

openpyxl reads it, an extra: it goes through a sheet as a stream, where readers in other languages hold it whole. A
number is a double there and is written as the shortest text that is that double; a date has no zone and is written
as a local time. Rows that are empty become blank lines, which are no records.

What a workbook unpacks to is bounded before anything is unpacked, like packed text (`decode`).
"""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime, time
from decimal import Decimal
from importlib.util import find_spec
from typing import IO, Any, Final

from workers.kernel.errors import FileUnusable
from workers.records.files import decode
from workers.records.files.layout import MAX_KEYS, Finding

MAX_ROWS: Final = 1_048_576
"""Rows of a sheet (Microsoft, "Excel specifications and limits")."""
MAX_DIGITS: Final = 15
"""Digits of a number that Excel keeps (Microsoft, "Excel specifications and limits")."""
MAX_TEXTS_BYTES: Final = 256 << 20
"""Texts that the cells share are held in memory."""
_TEXTS: Final = "xl/sharedStrings.xml"
_WITHIN_DOUBLES: Final = range(-20, 21)
"""Exponents of numbers that are written out in full."""


class Workbook:
    """The first sheet of a workbook; `findings` are complete once it has been written as CSV."""

    def __init__(self, source: IO[bytes], name: str) -> None:
        self._source, self._name = source, name
        self._rounded = 0
        self._sheets: list[str] = []

    @property
    def findings(self) -> list[Finding]:
        """What is worth telling of the workbook."""
        of = f", of {len(self._sheets)}" if len(self._sheets) > 1 else ""
        found = [Finding("workbook", f"is an Excel workbook, read by its first sheet, {self._sheets[0]!r}{of}")]
        if self._rounded:
            long = f"numbers of more than {MAX_DIGITS} digits, which Excel may have rounded: {self._rounded:,}"
            found.append(Finding("rounded_numbers", long))
        return found

    def as_csv(self) -> IO[bytes]:
        """Return an unnamed temporary file with the sheet as CSV.

        Raises FileUnusable where openpyxl is not installed, and for a bomb or corruption.
        """
        if find_spec("openpyxl") is None:
            raise FileUnusable(
                "it is an Excel workbook, and openpyxl is not installed",
                where=self._name,
                mend="pip install 'metermend[excel]', or save it as CSV",
            ) from ImportError("openpyxl")
        self._require_bounded()
        return decode.filled(self._write, self._name)

    def _require_bounded(self) -> None:
        try:
            with zipfile.ZipFile(self._source) as archive:
                sizes = {member.filename: member.file_size for member in archive.infolist()}
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise self._broken(error) from error
        decode.require_bounded(sum(sizes.values()), self._source.seek(0, io.SEEK_END), self._name)
        if sizes.get(_TEXTS, 0) > MAX_TEXTS_BYTES:
            raise FileUnusable(
                f"its texts take more than {MAX_TEXTS_BYTES:,} bytes", where=self._name, mend="save it as CSV"
            )

    def _write(self, copy: IO[bytes]) -> None:
        text = io.TextIOWrapper(copy, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        for cells in self._rows():
            writer.writerow(cells if any(cells) else [])
        text.detach()

    def _rows(self) -> Iterator[list[str]]:
        width = 0
        for number, row in enumerate(self._values(), start=1):
            if number > MAX_ROWS:
                raise FileUnusable(f"its sheet has more than {MAX_ROWS:,} rows", where=self._name, mend="send CSV")
            cells = [self._text(value) for value in row]
            while len(cells) > width and not cells[-1]:
                cells.pop()
            width = width or len(cells)
            yield cells + [""] * (width - len(cells)) if cells else []

    def _values(self) -> Iterator[Iterable[Any]]:
        """Yield the values of the sheet's rows; whatever openpyxl makes of a broken file is one line."""
        from openpyxl import load_workbook  # an extra

        try:
            workbook = load_workbook(self._source, read_only=True, data_only=True, keep_links=False)
            self._sheets = [sheet.title for sheet in workbook.worksheets]
            sheet = workbook.worksheets[0]
            sheet.reset_dimensions()  # what the file says of its size need not be true
            yield from sheet.iter_rows(max_col=MAX_KEYS + 1, values_only=True)
        except Exception as error:
            raise self._broken(error) from error

    def _text(self, value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, float)):
            return self._number(value)
        if isinstance(value, (datetime, time)):
            return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
        return str(value)

    def _number(self, value: float) -> str:
        number = Decimal(repr(value))
        self._rounded += len(number.as_tuple().digits) > MAX_DIGITS or abs(number) >= 10**MAX_DIGITS
        return f"{number:f}" if number.is_finite() and number.adjusted() in _WITHIN_DOUBLES else str(value)

    def _broken(self, error: Exception) -> FileUnusable:
        why = next(iter(str(error).splitlines()), "") or type(error).__name__
        return FileUnusable(
            f"it is an Excel workbook that cannot be read ({why})", where=self._name, mend="save it anew, or as CSV"
        )
