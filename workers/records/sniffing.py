"""Finding out what a file is from its first bytes: its format, its delimiter and its header."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from workers.kernel.errors import FileUnusable
from workers.records.headers import known, require_few_columns, require_header
from workers.records.json_record import NotARecord, members_of
from workers.records.layout import Finding, Format, ReadOptions
from workers.records.schema import MAX_DASHBOARD_BYTES, MAX_FILE_BYTES, MAX_FILE_NAME_LENGTH

HEAD_BYTES: Final = 1 << 20
DELIMITERS: Final = ",;\t|"
SAMPLE_LINES: Final = 100
CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1e\x7f]")
SUFFIXES: Final[Mapping[Format, str]] = {Format.CSV: ".csv", Format.JSON: ".json", Format.JSONL: ".jsonl"}


@dataclass(frozen=True)
class CsvHead:
    """The header of a CSV file: its delimiter, its fields, and the bytes up to the first record."""

    delimiter: str
    headers: tuple[str, ...]
    length: int


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
        return Format.JSONL if sample_columns(head) else Format.JSON
    return Format.JSON if first == b"[" else Format.CSV


def sample_columns(head: bytes) -> list[str]:
    """Return the columns of the first JSON Lines records in order of appearance; none where no line is one."""
    columns: dict[str, None] = {}
    for line in head.split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]:
        try:
            members = members_of(line.decode())
        except (NotARecord, UnicodeDecodeError):
            continue
        columns.update(dict.fromkeys(member.column for member in members))
    return list(columns)


def csv_head(head: bytes, options: ReadOptions, name: str) -> CsvHead:
    """Read the header with each delimiter and keep the one that gives most known columns, then most columns.

    Raises FileUnusable where the first line is no header, has too many columns or cannot be read.
    """
    blank = len(head) - len(head.lstrip(b"\r\n"))
    choices = [options.delimiter] if options.delimiter else list(DELIMITERS)
    heads = [found for delimiter in choices if (found := _read_header(head[blank:], delimiter))]
    if not heads:
        raise FileUnusable("its header cannot be read", where=name, mend="check the quotes in its first line")
    best = max(heads, key=lambda found: (known(found.headers), len(found.headers)))
    require_few_columns(best.headers, name)
    if not any(header in best.headers for header in options.headers):
        require_header(best.headers, name)
    return CsvHead(best.delimiter, best.headers, best.length + blank)


def _read_header(text: bytes, delimiter: str) -> CsvHead | None:
    lengths: list[int] = []

    def lines() -> Iterator[str]:
        for line in io.BytesIO(text):
            lengths.append(len(line))
            yield line.decode(errors="replace")

    try:
        headers = next(csv.reader(lines(), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return CsvHead(delimiter, tuple(headers), sum(lengths))


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
