"""Records in the file shapes that Stripe takes, as text for one frame.

CSV and the Dashboard's CSV have the columns of Stripe's "Billing Meter Event Transaction Template - CSV"; JSON and
JSON Lines nest the payload and write timestamp and value as numbers (Stripe docs, "Record usage in bulk"). A value
goes out in the very characters it has in the frame: no number is ever parsed.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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


def template_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of an output file for frames with these columns: the template's, then other payload."""
    return [*TEMPLATE_COLUMNS, *(name for name in columns if is_payload(name) and name not in TEMPLATE_COLUMNS)]


def csv_header(columns: Sequence[str]) -> bytes:
    """Return the header line of a CSV file."""
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)).write_csv().encode()


def csv_rows(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as CSV: an absent cell is empty, a text is quoted only where it has to be."""
    text = io.BytesIO()
    frame.write_csv(text, include_header=False)
    return text.getvalue()


def json_rows(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as JSON objects, one a line; an absent cell leaves its key out."""
    return _lines(frame, "\n")


def json_elements(frame: pl.DataFrame) -> bytes:
    """Return the frame's rows as elements of a JSON array, without its brackets."""
    return _lines(frame, ",\n").removesuffix(b",\n")


def _lines(frame: pl.DataFrame, end: str) -> bytes:
    payload = [_member(frame, name, payload_key(name)) for name in frame.columns if is_payload(name)]
    members = [_member(frame, name, name) for name in (IDENTIFIER, TIMESTAMP, EVENT_NAME)]
    nested = pl.concat_str(payload, separator=",", ignore_nulls=True)
    members.append(pl.concat_str(pl.lit('"payload":{'), nested, pl.lit("}")))
    line = pl.concat_str(pl.lit("{"), pl.concat_str(members, separator=",", ignore_nulls=True), pl.lit("}"))
    text = io.BytesIO()
    frame.select(line).write_csv(text, include_header=False, quote_style="never", line_terminator=end)
    return text.getvalue()


def _member(frame: pl.DataFrame, column: str, key: str) -> pl.Expr:
    """Return `"key":value`, null where the cell is null."""
    value = _json_string(frame, column)
    if column in (TIMESTAMP, VALUE):
        value = pl.when(pl.col(column).str.contains(JSON_NUMBER)).then(pl.col(column)).otherwise(value)
    return pl.concat_str(pl.lit(f"{json.dumps(key)}:"), value)


def _json_string(frame: pl.DataFrame, column: str) -> pl.Expr:
    """Return the cell as a JSON string; only cells with characters that JSON escapes go through Python."""
    cell = pl.col(column)
    plain = pl.concat_str(pl.lit('"'), cell, pl.lit('"'))
    special = cell.str.contains(SPECIAL)
    if not frame.select(special.any()).item():
        return plain
    escaped = pl.when(special).then(cell).map_elements(_dumps, return_dtype=pl.String)
    return pl.when(special).then(escaped).otherwise(plain)


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
