"""Cutting a file into parts at record boundaries, with exact row numbers, without reading its fields.

The cutter reads blocks of whole lines. For JSON Lines a record is a line that is not blank. For CSV, blocks without
quotes are judged by counting; only where that does not settle it are lines tested against the grammar, and only odd
lines looked at one by one. The parts depend on nothing but the file and the target size, and reading them gives the
same records for any target size.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.kernel.errors import FileUnusable
from workers.records.files.csv_grammar import CsvGrammar, OddLines, OddRecord, line_starts, lines_of
from workers.records.files.json_part import BLANKS, blank_lines
from workers.records.files.layout import MAX_LINE_BYTES, Part

BLOCK: Final = 512 << 10
"""Small enough for the allocator to use its memory again: blocks of 4 MiB are new pages each, and cost as much."""

Read = Callable[[int, int], bytes]
"""Reads `length` bytes at `offset` of the plain text; fewer at its end."""


@dataclass(frozen=True)
class Segment:
    """A run of whole records within one block: bytes, records, and whether each record is one regular line."""

    length: int
    rows: int
    plain: bool


Scan = Callable[[bytes, int, bool], Iterator[Segment]]
"""Knows where records end in one format: yields the segments of a block of whole lines, of about so many bytes.

They are less than the whole block where its end is not settled, and it is not the file's last.
"""


def json_segments(block: bytes, target: int, _final: bool, /) -> Iterator[Segment]:
    """Find the lines that are not blank. Where no line begins with a blank, none is: lines are counted then."""
    for piece in _by_lines(block, target):
        starts = line_starts(piece)[:-1]
        first_signs = np.frombuffer(piece, np.uint8)[starts]
        blank = blank_lines(lines_of(piece)) if np.isin(first_signs, list(BLANKS)).any() else None
        blanks = 0 if blank is None else int(blank.sum())
        yield Segment(len(piece), len(starts) - blanks, plain=blank is None)


def csv_segments(grammar: CsvGrammar, block: bytes, target: int, final: bool, /) -> Iterator[Segment]:
    """Find regular lines, and what odd lines turn out to be."""
    rows = grammar.plain_rows(block)
    if rows is not None and len(block) <= target:
        return iter([Segment(len(block), rows, plain=True)])
    odd = [] if rows is not None else (~grammar.regular(lines_of(block))).arg_true().to_list()
    if not odd:
        return (Segment(len(piece), piece.count(b"\n"), plain=True) for piece in _by_lines(block, target))
    settler = OddLines(block, grammar)
    return _odd_segments(settler.starts, *settler.settle(odd, final=final), target)


def _by_lines(block: bytes, target: int) -> Iterator[bytes]:
    start = 0
    while start < len(block):
        end = block.find(b"\n", start + target - 1) + 1 or len(block)
        yield block[start:end]
        start = end


def _odd_segments(starts: list[int], odd: list[OddRecord], settled: int, target: int) -> Iterator[Segment]:
    """Cut at lines that begin a record; `odd` are the odd records in the order of their lines."""
    firsts = [record.line for record in odd]
    line, seen = 0, 0
    while line < settled:
        end = min(max(bisect_left(starts, starts[line] + target), line + 1), settled)
        behind = bisect_left(firsts, end)
        if behind and (last := odd[behind - 1]).line + last.lines > end:
            end = last.line + last.lines
        inside = odd[seen:behind]
        rows = end - line - sum(record.lines - bool(record.found) for record in inside)
        yield Segment(starts[end] - starts[line], rows, plain=not inside)
        line, seen = end, behind


def cut(read: Read, start: int, end: int, scan: Scan, target: int, name: str) -> Iterator[Part]:
    """Yield parts of about `target` bytes (more only where one record or block is larger), covering start to end.

    Raises FileUnusable for a line longer than `MAX_LINE_BYTES`.
    """
    length = rows = 0
    plain = True
    offset, row = start, 1
    for segment in _segments(read, start, end, scan, target, name):
        if length and length + segment.length > target:
            yield Part(offset, length, row, rows, plain)
            offset, row, length, rows, plain = offset + length, row + rows, 0, 0, True
        length, rows, plain = length + segment.length, rows + segment.rows, plain and segment.plain
    if length:
        yield Part(offset, min(length, end - offset), row, rows, plain)


def _segments(read: Read, start: int, end: int, scan: Scan, target: int, name: str) -> Iterator[Segment]:
    offset, size = start, BLOCK
    while offset < end:
        block = read(offset, min(size, end - offset))
        if not block:
            raise FileUnusable("it has become shorter while it was read", where=name, mend="try again")
        final = offset + len(block) >= end
        used = 0
        whole = _whole_lines(block, final=final)
        for segment in scan(whole, target, final) if whole else ():
            used += segment.length
            yield segment
        offset += used
        if used:
            size = BLOCK
        elif size >= MAX_LINE_BYTES:
            raise FileUnusable(
                f"a line of it, at byte {offset:,}, is longer than {MAX_LINE_BYTES:,} bytes",
                where=name,
                mend="send one usage record a line",
            )
        else:
            size *= 2


def _whole_lines(block: bytes, *, final: bool) -> bytes:
    if final:
        return block if block.endswith(b"\n") else block + b"\n"
    return block[: block.rfind(b"\n") + 1]
