"""Finding out what a file is from its first bytes: its format, its delimiter and its header."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePath
from typing import Final

from workers.kernel.errors import FileUnusable
from workers.records.files.headers import known, require_few_columns
from workers.records.files.json_record import NotARecord, members_of
from workers.records.files.layout import Finding, Format, ReadOptions
from workers.records.schema import MAX_DASHBOARD_BYTES, MAX_FILE_BYTES, MAX_FILE_NAME_LENGTH

HEAD_BYTES: Final = 1 << 20
DELIMITERS: Final = ",;\t|"
SAMPLE_LINES: Final = 100
SEPARATOR_LINE: Final = re.compile(rb"(?i)\s*\"?sep=(?P<sign>[\t -!#-/:-@\[-`{-~])\"?[,;\t|]*[ ]*(?:\r\n|\n|\Z)")
"""The line by which a file tells Excel its delimiter, also where Excel has saved it as a row."""
JSON_TEXT: Final = re.compile(rb'"\s*\{\\"')
"""How a JSON string begins that holds the JSON text of an object; in a CSV the quote would be doubled."""
CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1e\x7f]")
SUFFIXES: Final[Mapping[Format, str]] = {Format.CSV: ".csv", Format.JSON: ".json", Format.JSONL: ".jsonl"}

_ZIP: Final = rb"PK\x03\x04.*?"
_WORKBOOK: Final = re.compile(_ZIP + rb"xl/(?:_rels|workbook|worksheets|styles|theme|sharedStrings)", re.DOTALL)
"""A ZIP archive with names that are in a workbook."""
_BINARY_WORKBOOK: Final = re.compile(_ZIP + rb"xl/workbook\.bin", re.DOTALL)
_KINDS: Final = (
    (_BINARY_WORKBOOK, "a binary Excel workbook", "save it as CSV or .xlsx"),
    (re.compile(_ZIP + rb"word/document\.xml", re.DOTALL), "a Word document", "export the data behind it as CSV"),
    (re.compile(_ZIP + rb"opendocument\.spreadsheet", re.DOTALL), "an OpenDocument spreadsheet", "save it as CSV"),
    (
        re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "an old Office file such as .xls, or one with a password",
        "save it as CSV or .xlsx, without a password",
    ),
    (re.compile(_ZIP, re.DOTALL), "a ZIP archive", "unpack it"),
    (re.compile(rb"PAR1[\x00-\x1f]"), "a Parquet file", "export it as CSV"),
    (re.compile(rb"%PDF-"), "a PDF document", "export the data behind it as CSV"),
    (re.compile(rb"BZh[1-9]1AY&SY"), "packed with bzip2", "unpack it"),
    (re.compile(rb"\xfd7zXZ\x00"), "packed with xz", "unpack it"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive", "unpack it"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive", "unpack it"),
    (re.compile(rb"SQLite format 3\x00"), "an SQLite database", "export the table as CSV"),
    (re.compile(rb"ARROW1\x00\x00"), "an Arrow file", "export it as CSV"),
    (re.compile(rb"Obj\x01"), "an Avro file", "export it as CSV"),
)
"""How such a file begins, what it is, and what helps."""


@dataclass(frozen=True)
class CsvHead:
    """The header of a CSV file: its delimiter, its fields, and the bytes up to the first record.

    `separator_line` says that a line before it tells Excel the delimiter.
    """

    delimiter: str
    headers: tuple[str, ...]
    length: int
    separator_line: bool = False


def is_workbook(head: bytes) -> bool:
    """Tell by the file's first bytes whether it is an Excel workbook that can be read."""
    return _WORKBOOK.match(head) is not None and _BINARY_WORKBOOK.match(head) is None


def require_no_other(head: bytes, name: str) -> None:
    """Raise FileUnusable where the file's first bytes are those of another well-known kind of file."""
    for beginning, what, mend in _KINDS:
        if beginning.match(head):
            raise FileUnusable(f"it is {what}", where=name, mend=mend)


def require_text(head: bytes, name: str) -> None:
    """Raise FileUnusable for a file that holds nothing, or nothing that is text."""
    if not head.strip():
        raise FileUnusable("it is empty", where=name, mend="send a file with usage records")
    if len(CONTROL.findall(head[:4096])) > 8 + len(head[:4096]) // 50:
        raise FileUnusable("it is a binary file, not text", where=name, mend="send CSV, JSON or JSON Lines")


def format_of(head: bytes, options: ReadOptions) -> Format:
    """Return the declared format, or what the first characters say, whatever the file's name is."""
    if options.format is not None:
        return options.format
    first = head.lstrip()[:1]
    if first == b"{":
        return Format.JSONL if json_sample(head) else Format.JSON
    if first == b'"' and JSON_TEXT.match(head.lstrip()):
        return Format.JSONL
    return Format.JSON if first == b"[" else Format.CSV


def json_sample(head: bytes) -> list[dict[str, str | None]]:
    """Return the cells of the first JSON Lines records; none where no line is one."""
    sample = []
    for line in head.split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]:
        with suppress(NotARecord, UnicodeDecodeError):
            sample.append({member.column: member.text for member in members_of(line.decode())})
    return [cells for cells in sample if cells]


def csv_sample(head: bytes, delimiter: str, columns: Sequence[str]) -> list[dict[str, str | None]]:
    """Return the cells of the first CSV records, as far as they can be read; `columns` are the frame's."""
    rows = csv.reader(io.StringIO(head.decode(errors="replace"), newline=""), delimiter=delimiter, strict=True)
    sample: list[dict[str, str | None]] = []
    with suppress(csv.Error):
        whole = (row for row in islice(rows, SAMPLE_LINES) if len(row) == len(columns))
        sample.extend(dict(zip(columns, (text or None for text in row), strict=True)) for row in whole)
    return sample


def csv_head(head: bytes, options: ReadOptions, name: str) -> CsvHead:
    """Read the header with each delimiter and keep the one that gives most known columns, then most columns.

    A line before it that tells Excel the delimiter is no data, and adds that one. Raises FileUnusable where the
    header has too many columns or cannot be read.
    """
    told = SEPARATOR_LINE.match(head)
    start = told.end() if told else 0
    start += len(head[start:]) - len(head[start:].lstrip(b"\r\n"))
    choices = [told["sign"].decode(), *DELIMITERS] if told else list(DELIMITERS)
    heads = [
        found
        for delimiter in ([options.delimiter] if options.delimiter else choices)
        if (found := _read_header(head[start:], delimiter))
    ]
    if not heads:
        raise FileUnusable("its header cannot be read", where=name, mend="check the quotes in its first line")
    best = max(heads, key=lambda found: (known(found.headers), len(found.headers)))
    require_few_columns(best.headers, name)
    return replace(best, length=best.length + start, separator_line=told is not None)


def _read_header(text: bytes, delimiter: str) -> CsvHead | None:
    lines = io.BytesIO(text)
    decoded = (line.decode(errors="replace") for line in lines)
    try:
        headers = next(csv.reader(decoded, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return CsvHead(delimiter, tuple(headers), lines.tell())


def file_findings(name: str, size: int, file_format: Format, compression: str | None) -> list[Finding]:
    """Return what Stripe would refuse in the file as such (Stripe docs, "Record usage in bulk", limits)."""
    checks = {
        "name_too_long": (len(name) > MAX_FILE_NAME_LENGTH, "has a name of 255 characters or more"),
        "compressed": (compression is not None, f"is packed with {compression}; Stripe expects plain text"),
        "wrong_extension": (
            compression is None and PurePath(name).suffix.lower() != SUFFIXES[file_format],
            f"holds {file_format.upper()} but its name does not end with {SUFFIXES[file_format]}",
        ),
        "too_large": (size > MAX_FILE_BYTES, f"has {size:,} bytes; an S3 import takes {MAX_FILE_BYTES:,}"),
        "too_large_for_dashboard": (
            size > MAX_DASHBOARD_BYTES,
            f"has {size:,} bytes; the Dashboard takes {MAX_DASHBOARD_BYTES:,}",
        ),
    }
    return [Finding(slug, text) for slug, (holds, text) in checks.items() if holds]
