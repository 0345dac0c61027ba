"""Records in the file shapes that Stripe takes, as text.

CSV and the Dashboard's CSV have the columns of Stripe's "Billing Meter Event Transaction Template - CSV"; JSON and
JSON Lines nest the payload and write timestamp and value as numbers (Stripe docs, "Record usage in bulk"). A value
goes out in the very characters it has in the frame: no number is ever parsed.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

import polars as pl

from workers.records.files.gapped_text import GappedText, Lines, Written
from workers.records.files.reading import Reading
from workers.records.files.scratch import SCRATCH
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
GAP: Final = "\x1e"
"""What stands in a CSV for a record that is left out; several of them where a record looks like it."""

Derive = Callable[[pl.LazyFrame], Sequence[pl.LazyFrame]]
"""Returns what else is wanted of the records whose text is made, to be found in the same pass."""
Gapped = tuple[GappedText, Sequence[pl.DataFrame]]
"""The text, with a gap for each record that is left out, and what else was wanted."""


def template_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of an output file for frames with these columns: the template's, then other payload."""
    return [*TEMPLATE_COLUMNS, *(name for name in columns if is_payload(name) and name not in TEMPLATE_COLUMNS)]


def csv_header(columns: Sequence[str]) -> bytes:
    """Return the header line of a CSV file."""
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)).write_csv().encode()


def csv_rows(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as CSV: an absent cell is empty, a text is quoted only where it has to be."""
    return _written(frame)


def csv_with_gaps(reading: Reading, cells: Sequence[pl.Expr], kept: str, derive: Derive) -> Gapped:
    """Write the cells of the records that are `kept` (a boolean column), and find what `derive` wants of all.

    A line of the file that has these very cells is taken as it stands.
    """
    lines = reading.lines
    if lines is None or not _are_columns(cells, lines.columns):
        return _rows_with_gaps(reading.records, cells, kept, derive)
    marks, *derived = pl.collect_all([reading.records.select(kept), *derive(reading.records)], engine="streaming")
    return Lines(lines.read, marks.height, (~marks[kept]).arg_true().to_list()), derived


def _are_columns(cells: Sequence[pl.Expr], columns: Sequence[str]) -> bool:
    return len(cells) == len(columns) and all(
        cell.meta.eq(pl.col(name)) for cell, name in zip(cells, columns, strict=True)
    )


def _rows_with_gaps(records: pl.LazyFrame, cells: Sequence[pl.Expr], kept: str, derive: Derive) -> Gapped:
    """Write the records anew, each gap as a line that no record has.

    If the text has more of these lines than there are gaps, a longer one is taken.
    """
    is_kept = pl.col(kept)
    first, *others = cells
    for times in count(1):
        mark, text = GAP * times, io.BytesIO()
        lines = records.select(
            pl.when(is_kept).then(first).otherwise(pl.lit(mark)), *(pl.when(is_kept).then(cell) for cell in others)
        )
        written = lines.sink_csv(text, include_header=False, lazy=True)
        gaps = records.select((~is_kept).sum())
        _, found, *derived = pl.collect_all([written, gaps, *derive(records)], engine="streaming")
        pieces = text.getvalue().split(mark.encode() + b"," * len(others) + b"\n")
        if len(pieces) == found.item() + 1:
            return Written(pieces), derived
    raise AssertionError("a text is finite")


def csv_records(text: bytes) -> list[bytes]:
    """Take CSV text apart into its records, each with its line end; one may hold line feeds between quotes."""
    lines = text.split(b"\n")[:-1]
    if b'"' not in text:
        return [line + b"\n" for line in lines]
    records: list[bytes] = []
    is_open = False
    for line in lines:
        if is_open:
            records[-1] += line + b"\n"
        else:
            records.append(line + b"\n")
        is_open ^= line.count(b'"') % 2 == 1
    return records


def _written(frame: pl.DataFrame, **style: Any) -> bytes:
    with SCRATCH.filled(lambda text: frame.write_csv(text, include_header=False, **style)) as view:
        return bytes(view)


def json_rows(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as JSON objects, one a line; an absent cell leaves its key out."""
    return _written(_objects(frame), quote_style="never")


def json_elements(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as elements of a JSON array, each with a comma behind it, without its brackets."""
    return _written(_objects(frame), quote_style="never", line_terminator=",\n")


def json_records(text: bytes) -> list[bytes]:
    """Take rows of JSON objects, one a line, apart into records with their line ends."""
    return text.splitlines(keepends=True)


def _json_with_gaps(rows: Callable[[pl.DataFrame], bytes]) -> "WithGaps":
    def with_gaps(reading: Reading, cells: Sequence[pl.Expr], kept: str, derive: Derive) -> Gapped:
        frame = reading.records.collect(engine="streaming")
        is_kept = frame[kept]
        text = rows(frame.filter(is_kept).select(cells)) if is_kept.any() else b""
        before = is_kept.cum_sum().filter(~is_kept).to_list()
        return Written.of_lines(text, before), pl.collect_all(derive(frame.lazy()))

    return with_gaps


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
    names = [*outer, *nested]
    numbers = [pl.col(name).str.contains(JSON_NUMBER) for name in names if name in NUMBERS]
    texts = [~pl.col(name).str.contains(SPECIAL) for name in names if name not in NUMBERS]
    return pl.all_horizontal(pl.lit(value=True), *numbers, *texts).fill_null(value=False)


def _members(columns: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return column -> how its key opens the member, of the object and of its payload."""
    outer = [(name, name) for name in (IDENTIFIER, TIMESTAMP, EVENT_NAME) if name in columns]
    nested = [(name, payload_key(name)) for name in columns if is_payload(name)]
    in_object, in_payload = ({name: f"{json.dumps(key)}:" for name, key in some} for some in (outer, nested))
    return in_object, in_payload


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


WithGaps = Callable[[Reading, Sequence[pl.Expr], str, Derive], Gapped]


@dataclass(frozen=True)
class Template:
    """One output format: how a file opens, how records become text, how a file closes.

    `rows` gives each record the same end, of which the file's last record loses `between`; `records` takes such
    text apart again; `with_gaps` writes some of the records (see `csv_with_gaps`).
    """

    suffix: str
    opening: Callable[[Sequence[str]], bytes]
    rows: Callable[[pl.DataFrame], bytes]
    records: Callable[[bytes], list[bytes]]
    with_gaps: WithGaps
    between: bytes = b""
    closing: bytes = b""
    max_bytes: int = MAX_FILE_BYTES


def _nothing(_columns: Sequence[str]) -> bytes:
    return b""


def _bracket(_columns: Sequence[str]) -> bytes:
    return b"[\n"


_CSV: Final = Template(".csv", csv_header, csv_rows, csv_records, csv_with_gaps)

TEMPLATES: Final[Mapping[str, Template]] = {
    "csv": _CSV,
    "dashboard": replace(_CSV, max_bytes=MAX_DASHBOARD_BYTES),
    "json": Template(
        ".json",
        _bracket,
        json_elements,
        json_records,
        _json_with_gaps(json_elements),
        between=b",\n",
        closing=b"\n]\n",
    ),
    "jsonl": Template(".jsonl", _nothing, json_rows, json_records, _json_with_gaps(json_rows)),
}
"""Output formats by name. The Dashboard takes the CSV template in smaller files (Stripe docs, "Record usage in bulk
with the Dashboard"). Its sample has no `identifier`; ours keeps it: without it a second upload bills twice."""
