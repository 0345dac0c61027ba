"""One JSON usage record as text cells, each value in the very characters that its sender wrote.

Numbers keep their text (`0.10`, `1e3`, integers of any size), strings are unescaped, a nested object or list keeps
its JSON text. `payload: {"key": …}` and a flat `payload_key` become the same column.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import polars as pl

from workers.records.files.layout import MAX_KEYS, Unreadable
from workers.records.schema import RAW, READER_COLUMNS, ROW, UNREADABLE, carried_name, payload_column

DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_BLANK: Final = re.compile(r"[ \t\n\r]*")
PAYLOAD: Final = "payload"
LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""Half a character: JSON can escape it, UTF-8 cannot hold it."""


Row = tuple[int, str, dict[str, str | None]]
"""A record's number, its text, and its cells; `UNREADABLE` and `RAW` alone where it could not be read."""


class NotARecord(ValueError):
    """The text is no JSON object that can be read in one way; `reason` says why."""

    def __init__(self, reason: Unreadable) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Member:
    """One value of a record: its column, where its text lies, and whether it is string, number, null or nested."""

    column: str
    start: int
    end: int
    kind: str
    text: str | None


def parse_record(text: str, *, prefix: bool = False) -> dict[str, str | None]:
    """Return column -> text of one record, or with `prefix` of its payload alone; raises NotARecord."""
    cells: dict[str, str | None] = {}
    for member in members_of(text, prefix=prefix):
        if member.column in cells:
            raise NotARecord(Unreadable.DUPLICATE_KEY)
        cells[member.column] = member.text
    return cells


def members_of(text: str, *, prefix: bool = False) -> list[Member]:
    """Return the members of a record in their order, those of its payload in place; raises NotARecord.

    With `prefix` the text is a payload.
    """
    start = skip_blanks(text, 0)
    try:
        if not text.startswith("{", start):
            DECODER.raw_decode(text, start)
            raise NotARecord(Unreadable.NOT_AN_OBJECT)
        walker = _Walker(text)
        members = list(islice(walker.object(start, prefix=prefix), MAX_KEYS + 1))
    except (json.JSONDecodeError, RecursionError) as error:
        raise NotARecord(Unreadable.NOT_JSON) from error
    if len(members) > MAX_KEYS:
        raise NotARecord(Unreadable.TOO_MANY_KEYS)
    if skip_blanks(text, walker.end) != len(text):
        raise NotARecord(Unreadable.NOT_JSON)
    if "\\u" in text and any(LONE_SURROGATE.search(f"{member.column}{member.text or ''}") for member in members):
        raise NotARecord(Unreadable.NOT_UTF8)
    return members


def skip_blanks(text: str, at: int) -> int:
    """Return the place of the next character that is no blank."""
    blank = _BLANK.match(text, at)
    assert blank is not None
    return blank.end()


def decoded(text: str) -> str:
    """Return the text that a JSON string encodes; any other text as it is."""
    if not text.lstrip().startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


class _Walker:
    """Walks the members of one object with `json`'s own scanner; `end` is where the object that was walked ends."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.payloads = 0

    def object(self, start: int, *, prefix: bool) -> Iterator[Member]:
        at = skip_blanks(self.text, start + 1)
        if self.text.startswith("}", at):
            self.end = at + 1
            return
        while True:
            key, at = self._key(at)
            yield from self._value(key, at, prefix=prefix)
            at = skip_blanks(self.text, self.end)
            if self.text.startswith("}", at):
                self.end = at + 1
                return
            at = skip_blanks(self.text, self._expect(",", at))

    def _key(self, at: int) -> tuple[str, int]:
        if not self.text.startswith('"', at):
            raise json.JSONDecodeError("Expecting property name", self.text, at)
        key, at = DECODER.raw_decode(self.text, at)
        return key, skip_blanks(self.text, self._expect(":", skip_blanks(self.text, at)))

    def _value(self, key: str, at: int, *, prefix: bool) -> Iterator[Member]:
        opening = self.text[at : at + 1]
        self.payloads += key == PAYLOAD and not prefix
        if self.payloads > 1:
            raise NotARecord(Unreadable.DUPLICATE_KEY)
        if key == PAYLOAD and opening == "{" and not prefix:
            yield from self.object(at, prefix=True)
            return
        value, self.end = DECODER.raw_decode(self.text, at)
        column = payload_column(key) if prefix else carried_name(key)
        if opening == '"':
            yield Member(column, at, self.end, "string", value)
        elif value is None:
            yield Member(column, at, self.end, "null", None)
        else:
            kind = "nested" if opening in "{[" else "number"
            yield Member(column, at, self.end, kind, self.text[at : self.end])

    def _expect(self, mark: str, at: int) -> int:
        if not self.text.startswith(mark, at):
            raise json.JSONDecodeError(f"Expecting {mark!r}", self.text, at)
        return at + 1


def frame_of(rows: Sequence[Row], wanted: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows with `wanted` of their columns (all if None), `ROW`, and other `READER_COLUMNS` where needed.

    A record that would bring more than `MAX_KEYS` different keys into the frame is unreadable, those behind it are
    not: without a bound a few megabytes of ever new keys are a frame that no memory holds.
    """
    keys: set[str] = set()
    records = []
    for _, text, cells in rows:
        record = cells
        if UNREADABLE not in cells and len(keys.union(cells)) > MAX_KEYS:
            record = {UNREADABLE: Unreadable.TOO_MANY_KEYS, RAW: text}
        elif UNREADABLE not in cells:
            keys.update(cells)
        records.append(record)
    names = dict.fromkeys(name for record in records for name in record)
    kept = [name for name in names if wanted is None or name in wanted or name in READER_COLUMNS]
    columns = {name: [record.get(name) for record in records] for name in kept}
    numbered = {ROW: [row for row, _, _ in rows], **columns}
    return pl.DataFrame(numbered, schema={ROW: pl.Int64, **dict.fromkeys(kept, pl.String)})
