"""The lines of a CSV file: which are plain records, and what the others are.

A line is *regular* when it is one record by itself with the right number of fields; polars reads those. The rest,
*odd* lines, need a Python loop, because only their neighbours tell what they are: records with a line feed between
quotes, rows with too few or too many fields, stray or unclosed quotes, bytes that are no UTF-8, blank lines.

An odd line is a record of its own where Python's strict `csv` can read it, or the start of one that spans lines
where RFC 4180's grammar finds its end, with the right number of fields, within `MAX_RECORD_BYTES`. If neither, that
line alone is unreadable and reading goes on with the next one: a stray quote does not swallow the file.
"""

import codecs
import csv
import io
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from workers.records.files.layout import Unreadable

LINE_FEED: Final = ord("\n")
MAX_RECORD_BYTES: Final = 1 << 20
MAX_REGULAR_COLUMNS: Final = 64
"""Beyond it the grammar of a line is too large an automaton: lines with quotes are odd then, others are counted."""
FEW_QUOTES: Final = 20
"""One line in so many with quotes is few: a line costs 2 µs to test in Python, a twentieth of that in polars."""
NEVER_IN_TEXT: Final = "\x1f"
MISREAD: Final = (codecs.BOM_UTF8, b"x\x01", b"x^", b"x\x9c", b"x\xda", b"\x1f\x8b", b"(\xb5/\xfd")
"""Beginnings that polars takes for no text: a mark that it strips, and those of zlib, gzip and zstd."""
LOOK: Final = 256 << 10
"""Bytes looked at together by numpy, without the new memory that a mask of a whole block takes."""


@dataclass(frozen=True)
class OddRecord:
    """What odd lines turned out to be: a record's fields, why a row is unreadable, or null for a blank line."""

    line: int
    lines: int
    found: list[str] | Unreadable | None


def lines_of(data: bytes) -> pl.Series:
    """Return the lines of the data as text without their ends; null where a line is no UTF-8."""
    if data.startswith(MISREAD):
        return lines_of(b"-\n" + data)[1:]
    try:
        frame = pl.read_csv(
            data,
            has_header=False,
            schema={"line": pl.String},
            separator=NEVER_IN_TEXT,
            quote_char=None,
            empty_string_is_null=False,
        )
    except PolarsError:
        return _lines_one_by_one(data)
    return frame.to_series()


def _lines_one_by_one(data: bytes) -> pl.Series:
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return pl.Series("line", [_decoded(line.removesuffix(b"\r")) for line in lines], dtype=pl.String)


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def line_starts(text: bytes) -> NDArray[np.int64]:
    """Return where each line starts, and where the last one ends. The text ends with a line feed, or is empty."""
    signs = np.frombuffer(text, np.uint8)
    blocks = range(0, len(text), LOOK)
    feeds = [np.flatnonzero(signs[block : block + LOOK] == LINE_FEED) + block for block in blocks]
    return np.concatenate([np.array([-1]), *feeds]) + 1


def quoted_lines(text: bytes, most: int) -> list[int] | None:
    """Return the numbers, from 0, of the lines that have a quote; None where they are more than `most`."""
    found: list[int] = []
    start = line = 0
    while (quote := text.find(b'"', start)) >= 0:
        if len(found) == most:
            return None
        line += text.count(b"\n", start, quote)
        found.append(line)
        start = text.find(b"\n", quote)
    return found


class CsvGrammar:
    """RFC 4180 for one delimiter and a fixed number of fields."""

    def __init__(self, delimiter: str, columns: int) -> None:
        self.delimiter, self.columns = delimiter, columns
        self._mark = delimiter.encode()
        mark = re.escape(delimiter)
        field = rf'(?:[^{mark}"\r\n]*|"[^"]*(?:""[^"]*)*")'
        self._line = f"^{field}(?:{mark}{field}){{{columns - 1}}}$"
        record = field.replace("*", "*+")
        self._record = re.compile(rf"{record}(?:{mark}{record}){{{columns - 1}}}(?=\r?\n)".encode())

    def regular(self, lines: pl.Series) -> pl.Series:
        """Tell for each line whether it is a record by itself; a null line is not."""
        line = pl.col("line")
        if self.columns <= MAX_REGULAR_COLUMNS:
            test = line.str.contains(self._line)
        else:
            count = line.str.count_matches(self.delimiter, literal=True)
            test = (count == self.columns - 1) & ~line.str.contains('["\r]')
        return lines.alias("line").to_frame().select((test & (line != "")).fill_null(value=False)).to_series()

    def plain_rows(self, block: bytes) -> int | None:
        """Return the number of rows where counting says that the lines may all be regular, else None.

        Lines with quotes are tested one by one if they are few. Counting cannot see a short row beside a long one;
        polars refuses the long one when the block is read.
        """
        if b"\r" in block and (block.count(b"\r") != block.count(b"\r\n") or b"\n\r\n" in block):
            return None
        signs = np.frombuffer(block, np.uint8)
        feeds = signs == LINE_FEED
        if block.startswith((b"\n", b"\r\n")) or (feeds[1:] & feeds[:-1]).any():
            return None
        rows = int(np.count_nonzero(feeds))
        inside = self._delimiters_inside_quotes(block, most=rows // FEW_QUOTES)
        if inside is None or np.count_nonzero(signs == self._mark[0]) - inside != rows * (self.columns - 1):
            return None
        return rows

    def _delimiters_inside_quotes(self, block: bytes, most: int) -> int | None:
        """Return how many delimiters stand in fields; None where a line is odd, or more than `most` have quotes."""
        inside, end = 0, 0
        for _ in range(most + 1):
            at = block.find(b'"', end)
            if at < 0:
                return inside
            start = block.rfind(b"\n", 0, at) + 1
            end = self.end_of_record(block, start) or 0
            if end <= at or block.find(b"\n", start, end) >= 0:
                return None
            inside += block.count(self._mark, start, end) - (self.columns - 1)
        return None

    def end_of_record(self, block: bytes, start: int) -> int | None:
        """Return where the record that starts there ends, before its line end; None if there is no whole one."""
        found = self._record.match(block, start, start + MAX_RECORD_BYTES)
        return found.end() if found else None

    def fields(self, text: bytes) -> list[str] | Unreadable:
        """Read one record with Python's strict `csv`: its fields, or why it has none."""
        try:
            rows = list(csv.reader(io.StringIO(text.decode(), newline=""), delimiter=self.delimiter, strict=True))
        except UnicodeDecodeError:
            return Unreadable.NOT_UTF8
        except csv.Error as error:
            return _reason(str(error), text)
        if len(rows) == 1 and len(rows[0]) == self.columns:
            return rows[0]
        return Unreadable.WRONG_COLUMN_COUNT if len(rows) == 1 else Unreadable.STRAY_CARRIAGE_RETURN


def _reason(error: str, text: bytes) -> Unreadable:
    if "unexpected end of data" in error:
        return Unreadable.UNCLOSED_QUOTE
    if "field larger than field limit" in error:
        return Unreadable.TOO_LONG
    return Unreadable.STRAY_CARRIAGE_RETURN if b"\r" in text and b'"' not in text else Unreadable.STRAY_QUOTE


class OddLines:
    """Settles the odd lines of a block of whole lines, which ends with a line feed."""

    def __init__(self, block: bytes, grammar: CsvGrammar) -> None:
        self.block, self.grammar = block, grammar
        self.starts = [0, *accumulate(len(line) + 1 for line in block[:-1].split(b"\n"))]

    def settle(self, odd: list[int], *, final: bool) -> tuple[list[OddRecord], int]:
        """Return the odd records and the number of lines that are settled.

        A record that may go on behind the block is not settled unless the block is the `final` one.
        """
        records: list[OddRecord] = []
        settled = 0
        for line in odd:
            if line < settled:
                continue
            record = self._record_at(line)
            may_go_on = not final and len(self.block) - self.starts[line] <= MAX_RECORD_BYTES
            if record.found is Unreadable.UNCLOSED_QUOTE and may_go_on:
                return records, line
            records.append(record)
            settled = record.line + record.lines
        return records, len(self.starts) - 1

    def _record_at(self, line: int) -> OddRecord:
        text = self.text(line)
        found = self.grammar.fields(text) if text else None
        start = self.starts[line]
        if found is not Unreadable.UNCLOSED_QUOTE or (end := self.grammar.end_of_record(self.block, start)) is None:
            return OddRecord(line, 1, found)
        return OddRecord(line, bisect_right(self.starts, end) - line, self.grammar.fields(self.block[start:end]))

    def text(self, line: int, lines: int = 1) -> bytes:
        """Return the bytes of the lines without the last line's end."""
        return self.block[self.starts[line] : self.starts[line + lines] - 1].removesuffix(b"\r")
