"""JSON bodies that hold a list of records, as calls to Stripe and logs of them do: taken apart, one record a line.

A body is known by its content: an object that names no event itself, with one list of objects that do, whatever its
key is, in itself, in an object within it, or in the JSON text of one. What else stands in it is no usage.
"""

import json
import re
from collections.abc import Iterator
from typing import IO, Final

from workers.kernel.errors import FileUnusable
from workers.records.files import decode
from workers.records.files.headers import fold, known, names_event
from workers.records.files.json_record import DECODER, PAYLOAD, Member, NotARecord, decoded, members_of, skip_blanks
from workers.records.files.layout import MAX_LINE_BYTES
from workers.records.schema import is_payload

BLOCK: Final = 4 << 20
LEVELS: Final = 2
"""How deep within a body the list of its records may stand."""
LIST_KEYS: Final = frozenset({"events", "meter_events", "records", "data", "items", "usage"})
"""Keys, folded, of which an empty list says that there is no record."""
PERHAPS: Final = re.compile(rb'(?m)\[\s*[{\]]|^[ \t]*"')
"""What a line has that holds a list of objects, or is JSON text itself."""


def holds_bodies(lines: IO[bytes], start: int, name: str) -> bool:
    """Tell whether a line is a body, or the JSON text of a record. Raises FileUnusable as `one_record_a_line`."""
    lines.seek(start)
    while block := lines.read(BLOCK):
        block += lines.readline(MAX_LINE_BYTES)
        if PERHAPS.search(block) and any(_apart(line, name) is not None for line in block.split(b"\n")):
            return True
    return False


def one_record_a_line(lines: IO[bytes], start: int, name: str) -> IO[bytes]:
    """Return an unnamed temporary file with the records of all bodies, and all other lines as they are.

    Raises FileUnusable where a body has several lists of records: which of them is usage only its sender knows.
    """

    def write(copy: IO[bytes]) -> None:
        lines.seek(start)
        while line := lines.readline(MAX_LINE_BYTES):
            records = _apart(line, name)
            copy.write(line if records is None else b"".join(record.encode() + b"\n" for record in records))

    return decode.filled(write, name)


def _apart(line: bytes, name: str) -> list[str] | None:
    if not PERHAPS.search(line):
        return None
    try:
        return _records_in(line.decode(), name)
    except UnicodeDecodeError:
        return None


def _records_in(text: str, name: str) -> list[str] | None:
    """Return the texts of the records in a body, or of the one in a JSON string; null where the text is neither."""
    inner = _object_in(text)
    members = _members(inner)
    lists = dict(_lists(members, LEVELS))
    if len(lists) > 1:
        what = f"an object of it has several lists of records: {', '.join(lists)}"
        raise FileUnusable(what, where=name, mend="send each as a file")
    if lists:
        return next(iter(lists.values()))
    if _is_empty_body(members):
        return []
    return None if inner is text or not members else [_in_a_line(inner)]


def _object_in(text: str) -> str:
    """Return the object that the text encodes as a JSON string, else the text itself."""
    inner = decoded(text)
    return inner if inner.lstrip().startswith("{") else text


def _members(text: str) -> list[Member]:
    try:
        return members_of(text)
    except NotARecord:
        return []


def _lists(members: list[Member], levels: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the lists of records by their keys."""
    if any(names_event(member.column) for member in members):
        return
    for member in members:
        inner = (member.text or "").lstrip() if member.kind in ("nested", "string") else ""
        if inner.startswith("["):
            elements = _elements(inner)
            if any(_is_record(_members(element), levels=1) for element in elements):
                yield member.column, elements
        elif inner.startswith("{") and levels > 1:
            yield from _lists(_members(inner), levels - 1)


def _elements(text: str) -> list[str]:
    """Return the texts of a list's elements, each in one line; none where the text is no list."""
    elements: list[str] = []
    at = 1
    try:
        while not text.startswith("]", at := skip_blanks(text, at)):
            _, end = DECODER.raw_decode(text, at)
            elements.append(_in_a_line(text[at:end]))
            at = skip_blanks(text, end)
            at += text.startswith(",", at)
    except (json.JSONDecodeError, RecursionError):
        return []
    return elements


def _in_a_line(text: str) -> str:
    """Return the text with carriage returns for line feeds: between values they are the same to JSON."""
    return text.replace("\n", "\r")


def _is_record(members: list[Member], levels: int) -> bool:
    """Tell whether the object is a usage record, or has one within it."""
    if any(names_event(one.column) or one.column == PAYLOAD or is_payload(one.column) for one in members):
        return True
    inner = [one.text or "" for one in members if one.kind in ("nested", "string")] if levels else []
    return any(_is_record(_members(text), levels - 1) for text in inner if text.startswith("{"))


def _is_empty_body(members: list[Member]) -> bool:
    """Tell whether the object has an empty list of records, and nothing that a record or a failure has."""
    nested = {fold(member.column): member.text for member in members if member.kind == "nested"}
    empty = list(nested.values()) == ["[]"] and not LIST_KEYS.isdisjoint(nested)
    return empty and not known([member.column for member in members])
