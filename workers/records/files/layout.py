"""What a usage file is: how to read it, what was found about it, and the parts it is cut into."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_KEYS: Final = 500
"""Keys of a record, and columns of a CSV file: work on a frame grows with the square of its width."""
MAX_LINE_BYTES: Final = 16 << 20
"""A line, or a record that spans lines; many times what a usage record takes."""
MAX_FILE_KEYS: Final = 1000
"""Different keys of all records of a JSON file together: every one is a column of every part."""


class Format(StrEnum):
    """The three file shapes that Stripe's S3 connector takes (Stripe docs, "Record usage in bulk")."""

    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


class Unreadable(StrEnum):
    """Why a row could not be taken apart; the text of the `@unreadable` column."""

    NOT_UTF8 = "not_utf8"
    WRONG_COLUMN_COUNT = "wrong_column_count"
    STRAY_QUOTE = "stray_quote"
    UNCLOSED_QUOTE = "unclosed_quote"
    STRAY_CARRIAGE_RETURN = "stray_carriage_return"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    CUT_LINE = "cut_line"
    TOO_LONG = "too_long"
    TOO_MANY_KEYS = "too_many_keys"


@dataclass(frozen=True)
class ReadOptions:
    """What the operator declares about a file; whatever is None is found out.

    `headers` maps a sender's column to the canonical one and wins over every synonym. The three failed-records
    columns are for `workers.reports`; the reader only carries them.
    """

    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    code_column: str | None = None
    error_column: str | None = None
    row_column: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something about the file as a whole: a slug for machines, a sentence for people."""

    slug: str
    text: str


@dataclass(frozen=True)
class Layout:
    """How a file is laid out. `columns` are the sender's headers (CSV) or the keys met at its head (JSON)."""

    name: str
    format: Format
    encoding: str
    delimiter: str | None
    columns: tuple[str, ...]
    renames: Mapping[str, str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Part:
    """A run of whole records, fit to be a job of its own: `Part(**dataclasses.asdict(part))` is the same part.

    `offset` and `length` are bytes in the file's plain UTF-8 form; `plain` says that every record is one line with
    the right number of fields, as the cutter saw it.
    """

    offset: int
    length: int
    first_row: int
    rows: int
    plain: bool
