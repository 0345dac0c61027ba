"""Records in the file shapes that Stripe takes, as text for one frame.

CSV and the Dashboard's CSV have the columns of Stripe's "Billing Meter Event Transaction Template - CSV"; JSON and
JSON Lines nest the payload and write timestamp and value as numbers (Stripe docs, "Record usage in bulk"). A value
goes out in the very characters it has in the frame: no number is ever parsed.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

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
LINE, ABSENT, PLACE = "line", "@absent", "@place"


def template_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of an output file for frames with these columns: the template's, then other payload."""
    return [*TEMPLATE_COLUMNS, *(name for name in columns if is_payload(name) and name not in TEMPLATE_COLUMNS)]


def csv_header(columns: Sequence[str]) -> bytes:
    """Return the header line of a CSV file."""
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)).write_csv().encode()


def csv_rows(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as CSV: an absent cell is empty, a text is quoted only where it has to be."""
    return _written(frame)


def _written(frame: pl.DataFrame, **style: Any) -> bytes:
    text = io.BytesIO()
    frame.write_csv(text, include_header=False, **style)
    return text.getvalue()


def json_rows(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as JSON objects, one a line; an absent cell leaves its key out."""
    return _written(_objects(frame), quote_style="never")


def json_elements(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as elements of a JSON array, without its brackets."""
    return _written(_objects(frame), quote_style="never", line_terminator=",\n").removesuffix(b",\n")


def _objects(frame: pl.DataFrame) -> pl.DataFrame:
    """Return one column of JSON objects; rows with the same absent cells are made at once."""
    frame, bare = _json_texts(frame.select(pl.exclude("^@.*$")))
    if not sum(frame.null_count().row(0)):
        return frame.select(_object(frame.columns, bare).alias(LINE))
    absent = pl.concat_str(pl.all().is_null().cast(pl.Int8)).alias(ABSENT)
    groups = frame.with_columns(absent).with_row_index(PLACE).partition_by(ABSENT)
    lines = []
    for group in groups:
        present = [name for name in frame.columns if group[name].null_count() == 0]
        lines.append(group.select(PLACE, _object(present, bare).alias(LINE)))
    return pl.concat(lines).sort(PLACE).select(LINE)


def _object(columns: Sequence[str], bare: Set[str]) -> pl.Expr:
    """Return the JSON object of these columns, none of them null; those in `bare` hold JSON text already."""
    outer = [(name, name) for name in (IDENTIFIER, TIMESTAMP, EVENT_NAME) if name in columns]
    nested = [(name, payload_key(name)) for name in columns if is_payload(name)]
    pieces: list[pl.Expr] = []
    literal = "{"
    for members, closing in ((outer, "," if outer else ""), (nested, "}")):
        literal += '"payload":{' if members is nested else ""
        for number, (name, key) in enumerate(members):
            quote = "" if name in bare else '"'
            pieces += [pl.lit(f"{literal}{',' if number else ''}{json.dumps(key)}:{quote}"), pl.col(name)]
            literal = quote
        literal += closing
    return pl.concat_str([*pieces, pl.lit(literal + "}")])


def _json_texts(frame: pl.DataFrame) -> tuple[pl.DataFrame, set[str]]:
    """Turn into JSON text the columns that cannot be put between quotes as they are, and say which are such text.

    Only cells with characters that JSON escapes go through Python.
    """
    special = frame.select(pl.all().str.contains(SPECIAL).any()).row(0)
    escaped = [name for name, found in zip(frame.columns, special, strict=True) if found]
    numbers = [name for name in (TIMESTAMP, VALUE) if name in frame.columns]
    plain = frame.select(pl.col(numbers).str.contains(JSON_NUMBER).all()).row(0) if numbers else ()
    mixed = [name for name, all_numbers in zip(numbers, plain, strict=True) if not all_numbers]
    texts = {name: _json_string(pl.col(name)) for name in escaped}
    for name in mixed:
        text = texts.get(name, _quoted(pl.col(name)))
        texts[name] = pl.when(pl.col(name).str.contains(JSON_NUMBER)).then(pl.col(name)).otherwise(text)
    return frame.with_columns(text.alias(name) for name, text in texts.items()), {*texts, *numbers}


def _quoted(cell: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit('"'), cell, pl.lit('"'))


def _json_string(cell: pl.Expr) -> pl.Expr:
    special = cell.str.contains(SPECIAL)
    escaped = pl.when(special).then(cell).map_elements(_dumps, return_dtype=pl.String)
    return pl.when(special).then(escaped).otherwise(_quoted(cell))


def _dumps(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True)
class Template:
    """One output format: how a file opens, how rows become bytes, what joins runs of rows, how a file closes."""

    suffix: str
    opening: Callable[[Sequence[str]], bytes]
    rows: Callable[[pl.DataFrame], bytes]
    between: bytes = b""
    closing: bytes = b""
    max_bytes: int = MAX_FILE_BYTES


def _nothing(_columns: Sequence[str]) -> bytes:
    return b""


def _bracket(_columns: Sequence[str]) -> bytes:
    return b"[\n"


TEMPLATES: Final[Mapping[str, Template]] = {
    "csv": Template(".csv", csv_header, csv_rows),
    "dashboard": Template(".csv", csv_header, csv_rows, max_bytes=MAX_DASHBOARD_BYTES),
    "json": Template(".json", _bracket, json_elements, between=b",\n", closing=b"\n]\n"),
    "jsonl": Template(".jsonl", _nothing, json_rows),
}
"""Output formats by name. The Dashboard takes the CSV template in smaller files (Stripe docs, "Record usage in bulk
with the Dashboard"). Its sample has no `identifier`; ours keeps it: without it a second upload bills twice."""
