"""From a JSON array of any size to JSON Lines: one element a line, in bounded memory.

The array is split where `}`, a comma and `{` meet. Such a place may lie inside a string or a nested list, so each
piece is tested: if its quotes and brackets balance it is one element, since it began at an element's start. A piece
that does not balance goes through Python's own scanner, which finds where the element really ends; if there is no
valid element, the piece alone becomes an unreadable line and the split goes on behind it.

Line feeds between values become carriage returns, which mean the same to JSON and are as forbidden inside strings.
"""

import json
import re
from bisect import bisect_right
from contextlib import suppress
from typing import IO, Final

import polars as pl

from workers.kernel.errors import FileUnusable
from workers.records.files import decode
from workers.records.files.csv_grammar import lines_of
from workers.records.files.json_record import DECODER
from workers.records.schema import EVENT_NAME

BLOCK: Final = 8 << 20
MAX_ELEMENT_BYTES: Final = 1 << 20
MAX_PENDING_BYTES: Final = 64 << 20

SEAM: Final = r"\}[ \t\r]*,?[ \t\r]*\{"
SEAM_IN_TEXT: Final = re.compile(SEAM)
SEAM_IN_FILE: Final = re.compile(rb"\}[ \t\r\n]*,?[ \t\r\n]*\{")
GAP: Final = re.compile(r"[ \t\r,]*")
_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_MEMBER: Final = rf"{_STRING}\s*:\s*(?:{_STRING}|[\w.+-]+|\{{[^\[\]{{}}]*\}})"
BODY: Final = re.compile(rf"\s*\{{\s*(?:{_MEMBER}\s*,\s*)*{_STRING}\s*:\s*\[\s*(?=\{{)".encode())
"""The beginning of an object up to the first element of a list in it."""
BODY_END: Final = re.compile(rf"\]\s*(?:,\s*{_MEMBER}\s*)*\}}\Z".encode())
"""The end of such a list and of the object around it."""
_FLAT: Final = rf'(?:[^"{{}}\[\]]|{_STRING})*'
_NESTED: Final = rf"(?:\{{{_FLAT}\}}|\[{_FLAT}\])"
BALANCED: Final = rf"(?s)^\{{{_FLAT}(?:{_NESTED}{_FLAT})*\}}$"
_PLAIN: Final = r'(?:[^"\\{}\[\]]|"[^"\\{}]*")*'
PLAIN_ELEMENT: Final = rf"^\{{{_PLAIN}(?:\{{{_PLAIN}\}}{_PLAIN})?\}}$"
"""An element, balanced, without an escape and with a payload at most: nowhere in it can another one begin."""


def as_lines(source: IO[bytes], name: str) -> IO[bytes]:
    """Return an unnamed temporary file with one element a line; raises FileUnusable like `write_lines`."""
    return decode.filled(lambda copy: write_lines(source, copy, name), name)


def write_lines(source: IO[bytes], copy: IO[bytes], name: str) -> None:
    """Write the array's elements to `copy`, one a line; a run of objects without brackets counts as one, too.

    So does the list in an object that is too large to be looked at whole. Where the array is cut off, the last line
    lacks its line feed. Raises FileUnusable where no element ends within `MAX_PENDING_BYTES`.
    """
    source.seek(0)
    head = source.read(BLOCK)
    pending = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    body = BODY.match(pending) if len(head) == BLOCK else None
    if body is not None and EVENT_NAME.encode() in body[0]:
        body = None  # a record with a list of its own
    pending = pending[body.end() :] if body else pending.removeprefix(b"[").lstrip()
    while block := source.read(BLOCK):
        pending += block
        lines, used = _split(pending, _last_seam(pending), final=False)
        copy.write(lines)
        pending = pending[used:]
        if len(pending) > MAX_PENDING_BYTES:
            raise FileUnusable(
                f"no record ends within {MAX_PENDING_BYTES:,} bytes of it", where=name, mend="send JSON Lines"
            )
    tail = BODY_END.sub(b"]", pending.rstrip()) if body else pending.rstrip()
    whole = tail.removesuffix(b"]").rstrip().removesuffix(b",").rstrip()
    lines, _ = _split(whole, len(whole), final=True)
    copy.write(lines if tail.endswith(b"]") else lines.removesuffix(b"\n"))


def _last_seam(data: bytes) -> int:
    """Return where the last element seems to begin; 0 where none does in the last stretch."""
    at = len(data)
    while (at := data.rfind(b"}", max(0, len(data) - MAX_ELEMENT_BYTES), at)) > 0:
        if seam := SEAM_IN_FILE.match(data, at):
            return seam.end() - 1
    return 0


def _split(data: bytes, end: int, *, final: bool) -> tuple[bytes, int]:
    """Return the elements before `end` as lines, and where the data that is not used yet begins."""
    if not end:
        return b"", 0
    text = data[:end].rstrip(b" \t\r\n,")
    if (as_it_stands := _plain_elements(text)) is not None:
        return as_it_stands, end
    text = text.replace(b"\n", b"\r")
    try:
        lines = pl.Series([text.decode()]).str.replace_all(SEAM, "}\n{")
    except UnicodeDecodeError:
        return _scanned(text, set(), end, final=final)
    balanced = lines.str.split("\n").explode().str.contains(BALANCED)
    if balanced.all():
        return f"{lines[0]}\n".encode(), end
    return _scanned(text, set(balanced.arg_true()), end, final=final)


def _plain_elements(text: bytes) -> bytes | None:
    """Return plain elements that one seam divides throughout as lines; None where they are anything else.

    It is what machines write, and what the other way makes of it comes out the same, at twice the cost.
    """
    seam = SEAM_IN_FILE.search(text)
    if seam is None or b"\n" in text[: seam.start()]:
        return None
    lines = text.replace(seam.group(), b"}\n{")
    if b"\r" in lines:
        return None
    plain = lines_of(lines).str.contains(PLAIN_ELEMENT)
    return lines + b"\n" if plain.all(ignore_nulls=False) else None


def _scanned(data: bytes, balanced: set[int], behind: int, *, final: bool) -> tuple[bytes, int]:
    """Split with Python's scanner wherever a piece is not `balanced`; `behind` is where used-up data ends."""
    text = data.decode(errors="surrogateescape")
    seams = list(SEAM_IN_TEXT.finditer(text))
    starts = [0, *(seam.end() - 1 for seam in seams)]
    ends = [*(seam.start() + 1 for seam in seams), len(text)]
    elements: list[str] = []
    at = 0
    while at < len(text):
        piece = bisect_right(starts, at) - 1
        if piece in balanced and starts[piece] == at:
            end = ends[piece]
        else:
            found = _end_of_value(text, at)
            if found is None and not final and len(text) - at < MAX_ELEMENT_BYTES:
                break
            end = found or ends[piece]
        elements.append(text[at:end])
        at = _behind_gap(text, end)
    lines = "".join(f"{element}\n" for element in elements).encode(errors="surrogateescape")
    return lines, behind if at == len(text) else len(text[:at].encode(errors="surrogateescape"))


def _end_of_value(text: str, at: int) -> int | None:
    with suppress(json.JSONDecodeError, RecursionError):
        return DECODER.raw_decode(text, at)[1]
    return None


def _behind_gap(text: str, at: int) -> int:
    gap = GAP.match(text, at)
    assert gap is not None
    return gap.end()
