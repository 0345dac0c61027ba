"""Records inside records: a usage record, or its payload, that stands as a JSON object in one column of a file.

Outboxes and queues keep a payload as JSON text; failed-records files and logs put the record beside what was said
of it. The object is read with each value in the very characters that its sender wrote, also where it was encoded
twice. To take a payload out of a text is a repair: Stripe reads none of it there.

A payload's keys stand beside the columns of its record. Where both name a value they must agree: of two values none
is the right one. A record inside another is read alone: the time around it is that of the failure, say.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from workers.kernel.codes import MALFORMED_RECORD
from workers.kernel.errors import FileUnusable
from workers.records.files.headers import fold, names_event, renames_for
from workers.records.files.json_record import PAYLOAD, NotARecord, decoded, parse_record
from workers.records.files.layout import Finding, Unreadable
from workers.records.schema import READ_FROM, REQUIRED_COLUMNS, is_payload, original_columns

Cells = Mapping[str, str | None]

PAYLOAD_NAMES: Final = frozenset({"payload", "event_payload", "data", "event_data", "properties"})
"""Folded names under which a sender may keep a payload: `data` and `properties` as other event APIs call it."""
RECORD_NESTED: Final = "record_nested"
"""The finding that the records stand inside the rows of a file."""
PAYLOAD_TEXT: Final = "payload_text"
"""How a record is repaired whose payload stood in a text."""
_REMEDY: Final = f"{MALFORMED_RECORD}.{PAYLOAD_TEXT}"
_NO_OBJECT: Final = frozenset({Unreadable.NOT_JSON, Unreadable.NOT_AN_OBJECT})


@dataclass(frozen=True)
class Nesting:
    """The columns in which a record, and its payload, stand as an object; null where the file has none."""

    record: str | None = None
    payload: str | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """The columns to be looked into."""
        return frozenset(name for name in (self.record, self.payload) if name)

    def spread(self, cells: Cells) -> dict[str, str | None]:
        """Return the record's cells with what stands inside them. Raises NotARecord where that has two readings."""
        spread = dict(cells)
        inner = None if self.record is None else spread.pop(self.record, None)
        if inner is not None:
            spread = self._instead(spread, parse_record(decoded(inner)))
        payload = None if self.payload is None else spread.get(self.payload)
        return spread if payload is None else _with_payload(spread, str(self.payload), payload)

    def _instead(self, outer: Cells, inner: Cells) -> dict[str, str | None]:
        """Return the inner record, and what the outer one has beside it; that is not read as usage."""
        named = {self.renames.get(name, name): text for name, text in inner.items()}
        aside = {name for name in outer if name in named or name in REQUIRED_COLUMNS or is_payload(name)}
        return {(f"{name}#2" if name in aside else name): text for name, text in outer.items()} | named


def _with_payload(cells: Cells, column: str, text: str) -> dict[str, str | None]:
    try:
        payload = parse_record(decoded(text), prefix=True)
    except NotARecord as error:
        if error.reason in _NO_OBJECT:
            return dict(cells)
        raise
    if any(cells.get(name) not in (None, value) for name, value in payload.items()):
        raise NotARecord(Unreadable.DUPLICATE_KEY)
    read_from = json.dumps({"column": column, "before": text, "after": None, "remedy": _REMEDY}, ensure_ascii=False)
    return {name: value for name, value in cells.items() if name != column} | payload | {READ_FROM: read_from}


def nesting_of(sample: Sequence[Cells], declared: Mapping[str, str], name: str) -> Nesting:
    """Return how the sampled records of a file are nested.

    A record is looked for where none of the columns names an event, a payload under another name where no column
    belongs to one: else they have a reading already. `declared` are columns that are to be read as another. Raises
    FileUnusable where several columns hold a record.
    """
    columns = list(dict.fromkeys(column for cells in sample for column in cells))
    record = None if any(map(names_event, columns)) else _record_column(sample, columns, name)
    renames: Mapping[str, str] = {}
    if record is not None:
        columns = sampled(Nesting(record), sample)
        renames, _ = renames_for(columns, declared)
        sample = [found for cells in sample if (found := _spread(Nesting(record, renames=renames), cells))]
    payload = _payload_column(sample, columns)
    return Nesting(record, payload, renames, tuple(_findings(record, payload, sample)))


def _findings(record: str | None, payload: str | None, sample: Sequence[Cells]) -> Iterator[Finding]:
    if record is not None:
        yield Finding(RECORD_NESTED, f"the record is read from the JSON in column {record!r}")
    if payload is not None and _all_objects(sample, payload, with_event=False):
        yield Finding("payload_nested", f"the payload is read from the JSON in column {payload!r}")


def sampled(nesting: Nesting, sample: Sequence[Cells]) -> list[str]:
    """Return the columns of the sampled records, spread, in order of appearance."""
    spread = [found for cells in sample if (found := _spread(nesting, cells))]
    return original_columns(list(dict.fromkeys(column for cells in spread for column in cells)))


def _spread(nesting: Nesting, cells: Cells) -> Cells | None:
    try:
        return nesting.spread(cells)
    except NotARecord:
        return None


def _record_column(sample: Sequence[Cells], columns: Sequence[str], name: str) -> str | None:
    found = [column for column in columns if _all_objects(sample, column, with_event=True)]
    if len(found) > 1:
        raise FileUnusable(
            f"each of its columns {', '.join(map(repr, found))} holds a record",
            where=name,
            mend="leave one of them",
        )
    return found[0] if found else None


def _payload_column(sample: Sequence[Cells], columns: Sequence[str]) -> str | None:
    if PAYLOAD in columns:
        return PAYLOAD
    if any(is_payload(column) for column in columns):
        return None
    named = [column for column in columns if fold(column) in PAYLOAD_NAMES]
    found = [column for column in named if _all_objects(sample, column, with_event=False)]
    return found[0] if len(found) == 1 else None


def _all_objects(sample: Sequence[Cells], column: str, *, with_event: bool) -> bool:
    """Tell whether all texts of the column are JSON objects, such as name an event if that is asked for."""
    texts = [text for cells in sample if (text := cells.get(column)) is not None]
    try:
        objects = [parse_record(decoded(text)) for text in texts]
    except NotARecord:
        return False
    return bool(objects) and all(not with_event or any(map(names_event, cells)) for cells in objects)
