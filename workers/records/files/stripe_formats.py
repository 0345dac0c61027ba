"""Records in the file shapes that Stripe takes, as text.

CSV and the Dashboard's CSV have the columns of Stripe's "Billing Meter Event Transaction Template - CSV"; JSON and
JSON Lines nest the payload and write timestamp and value as numbers (Stripe docs, "Record usage in bulk"). A value
goes out in the very characters it has in the frame: no number is ever parsed.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workers.records.files.csv_grammar import line_starts
from workers.records.schema import (
    EVENT_NAME,
    IDENTIFIER,
    MAX_DASHBOARD_BYTES,
    MAX_FILE_BYTES,
    TEMPLATE_COLUMNS,
    TIMESTAMP,
    VALUE,
    is_payload,
    payload_key,
)

JSON_NUMBER: Final = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"
SPECIAL: Final = r'["\\\x00-\x1f]'
ESCAPED: Final = {mark: json.dumps(mark)[1:-1] for mark in ('"', "\\", *map(chr, range(32)))}
NUMBERS: Final = (TIMESTAMP, VALUE)
LINE: Final = "line"


def template_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of an output file for frames with these columns: the template's, then other payload."""
    return [*TEMPLATE_COLUMNS, *(name for name in columns if is_payload(name) and name not in TEMPLATE_COLUMNS)]


def csv_header(columns: Sequence[str]) -> bytes:
    """Return the header line of a CSV file."""
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)).write_csv().encode()


def csv_rows(frame: pl.DataFrame, **style: Any) -> bytes:
    """Return the frame's rows as CSV: an absent cell is empty, a text is quoted only where it has to be."""
    text = io.BytesIO()
    frame.write_csv(text, include_header=False, **style)
    return text.getvalue()


def csv_record_starts(text: bytes) -> NDArray[np.int64]:
    """Return where each record of CSV text starts and the last one ends: no line feed between quotes ends one."""
    starts = line_starts(text)
    if b'"' not in text:
        return starts
    quotes = np.flatnonzero(np.frombuffer(text, np.uint8) == ord('"'))
    outside: NDArray[np.bool_] = np.searchsorted(quotes, starts) % 2 == 0
    return starts[outside]


def json_rows(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as JSON objects, one a line; an absent cell leaves its key out."""
    return csv_rows(_objects(frame), quote_style="never")


def json_elements(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as elements of a JSON array, each with a comma behind it, without its brackets."""
    return csv_rows(_objects(frame), quote_style="never", line_terminator=",\n")


def _objects(frame: pl.DataFrame) -> pl.DataFrame:
    """Return one column of JSON objects.

    Most rows are plain: no cell is absent, none needs escaping, numbers are numbers. Theirs are made at a quarter
    of the cost, and the odd ones put between them.
    """
    present = [name for name in frame.columns if frame[name].null_count() < frame.height]
    frame = frame.select(present or frame.columns[:1])  # a frame without a column has no rows
    plain = frame.select(_is_plain(frame.columns)).to_series()
    if plain.all():
        return frame.select(_plain_object(frame.columns).alias(LINE))
    odd = frame.filter(~plain)
    objects = odd.select(_any_object(odd).alias(LINE))
    if objects.height == frame.height:
        return objects
    both = pl.concat([frame.select(_plain_object(frame.columns).alias(LINE)), objects])
    place = pl.when(plain).then(pl.int_range(frame.height)).otherwise((~plain).cum_sum() + frame.height - 1)
    return both[pl.select(place).to_series()]


def _is_plain(columns: Sequence[str]) -> pl.Expr:
    outer, nested = _members(columns)
    cells = {name: pl.col(name).str for name in (*outer, *nested)}
    plain = (c.contains(JSON_NUMBER) if name in NUMBERS else ~c.contains(SPECIAL) for name, c in cells.items())
    return pl.all_horizontal(pl.lit(value=True), *plain).fill_null(value=False)


def _members(columns: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return column -> how its key opens the member, of the object and of its payload."""
    outer = {name: f'"{name}":' for name in (IDENTIFIER, TIMESTAMP, EVENT_NAME) if name in columns}
    return outer, {name: f"{json.dumps(payload_key(name))}:" for name in columns if is_payload(name)}


def _plain_object(columns: Sequence[str]) -> pl.Expr:
    """Return the JSON object of a plain row, put together at once; null or nonsense for any other row."""
    outer, nested = _members(columns)
    pieces: list[pl.Expr] = []
    literal = "{"
    for members, opening in ((outer, ""), (nested, '"payload":{')):
        literal += opening
        for number, (name, key) in enumerate(members.items()):
            quote = "" if name in NUMBERS else '"'
            comma = "," if number else ""
            pieces += [pl.lit(f"{literal}{comma}{key}{quote}"), pl.col(name)]
            literal = quote
        literal += "," if members is outer and outer else ""
    return pl.concat_str([*pieces, pl.lit(literal + "}}")])


def _any_object(frame: pl.DataFrame) -> pl.Expr:
    """Return the JSON object of each of these rows, whatever their cells."""
    outer, nested = _members(frame.columns)
    special = frame.select(pl.col(pl.String).str.contains(SPECIAL).any()).row(0, named=True)

    def member(name: str, key: str, behind: str = "") -> pl.Expr:
        return pl.concat_str(pl.lit(key), _json_text(name, escape=special[name]), pl.lit(behind))

    return pl.concat_str(
        pl.lit("{"),
        *(member(name, key, ",") for name, key in outer.items()),
        pl.lit('"payload":{'),
        pl.concat_str([member(name, key) for name, key in nested.items()], separator=",", ignore_nulls=True)
        if nested
        else pl.lit(""),
        pl.lit("}}"),
        ignore_nulls=True,
    )


def _json_text(name: str, *, escape: bool) -> pl.Expr:
    """Return the column's cells as JSON; `escape` says that in some there is a character that needs it."""
    cell = pl.col(name)
    text = cell.str.replace_many(ESCAPED) if escape else cell
    string = pl.concat_str(pl.lit('"'), text, pl.lit('"'))
    return pl.when(cell.str.contains(JSON_NUMBER)).then(cell).otherwise(string) if name in NUMBERS else string


@dataclass(frozen=True)
class Template:
    """One output format: how a file opens, how records become text, how a file closes.

    `rows` gives each record the same end, of which the file's last record loses `between`; `starts` finds the
    records in such text, and its end. `streams` says that polars can write the text while it reads.
    """

    suffix: str
    opening: Callable[[Sequence[str]], bytes]
    rows: Callable[[pl.DataFrame], bytes]
    starts: Callable[[bytes], NDArray[np.int64]]
    between: bytes = b""
    closing: bytes = b""
    max_bytes: int = MAX_FILE_BYTES
    streams: bool = False

    def collect(
        self, records: pl.LazyFrame, others: Sequence[pl.LazyFrame]
    ) -> tuple[bytes, Sequence[pl.DataFrame]]:
        """Return the text of the records, and the other frames, from one pass over what all come from."""
        if not self.streams:
            frame, *collected = pl.collect_all([records, *others], engine="streaming")
            return (self.rows(frame) if frame.height else b""), collected
        text = io.BytesIO()
        written = records.sink_csv(text, include_header=False, lazy=True)
        _, *collected = pl.collect_all([written, *others], engine="streaming")
        return text.getvalue(), collected

    def records(self, text: bytes) -> list[bytes]:
        """Take text of `rows` apart into its records."""
        return [text[start:end] for start, end in pairwise(self.starts(text).tolist())]

    def woven(self, text: bytes, places: pl.Series, others: Sequence[bytes], *, over: bool = False) -> bytes:
        """Put others before the records of a text that stand in these places, from 0, or `over` them.

        The place behind the last record is one, too. Any of the others may be empty.
        """
        starts, at = self.starts(text), places.to_numpy()
        ends = starts[at]
        again = starts[at + 1] if over else ends
        pieces = [
            text[start:end] for start, end in zip([0, *again.tolist()], [*ends.tolist(), len(text)], strict=True)
        ]
        return b"".join(chain.from_iterable(zip(pieces, [*others, b""], strict=True)))


_CSV: Final = Template(".csv", csv_header, csv_rows, csv_record_starts, streams=True)

TEMPLATES: Final[Mapping[str, Template]] = {
    "csv": _CSV,
    "dashboard": replace(_CSV, max_bytes=MAX_DASHBOARD_BYTES),
    "json": Template(".json", lambda _: b"[\n", json_elements, line_starts, between=b",\n", closing=b"\n]\n"),
    "jsonl": Template(".jsonl", lambda _: b"", json_rows, line_starts),
}
"""Output formats by name. The Dashboard takes the CSV template in smaller files (Stripe docs, "Record usage in bulk
with the Dashboard"). Its sample has no `identifier`; ours keeps it: without it a second upload bills twice."""
