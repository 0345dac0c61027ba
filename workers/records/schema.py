"""The canonical frame: the one shape in which every usage record passes through the product.

Every column is text (`pl.String`) as its sender wrote it, null where absent, except `ROW`, which is Int64, and
`WRITTEN`, which is a time.
A sender's own column whose name starts with `@` is carried with one more `@` (see `carried_name`), so that
the columns below are always ours; so is one that polars could take for a pattern of names, such as `*`.

Sources: Stripe docs, "Record usage in bulk" (file shapes, limits, pace), "Record usage with the API" (times) and
stripe-python's `billing.MeterEvent` (lengths); significant digits: Stripe changelog, "billing meter event values
validation" (2026-04-22).
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import polars as pl
from polars.exceptions import PolarsError

from workers.kernel.errors import Corrupt

IDENTIFIER: Final = "identifier"
TIMESTAMP: Final = "timestamp"
EVENT_NAME: Final = "event_name"
PAYLOAD_PREFIX: Final = "payload_"
CUSTOMER: Final = "payload_stripe_customer_id"
VALUE: Final = "payload_value"

REQUIRED_COLUMNS: Final = (IDENTIFIER, TIMESTAMP, EVENT_NAME)
"""Present in every canonical frame, if only as nulls."""

TEMPLATE_COLUMNS: Final = (IDENTIFIER, TIMESTAMP, EVENT_NAME, CUSTOMER, VALUE)
"""Order of Stripe's "Billing Meter Event Transaction Template - CSV"; other payload columns follow."""

ROW: Final = "@row"
"""Int64: number of the data record in its file, from 1; the header and blank lines are not counted."""
SOURCE: Final = "@source"
"""The file's name."""
WRITTEN: Final = "@written"
"""When the row's file was last written, aware UTC; known of the rows of usage sources only."""
UNREADABLE: Final = "@unreadable"
"""Why a row could not be taken apart, as a slug of `layout.Unreadable`; null for a good row."""
RAW: Final = "@raw"
"""The text of an unreadable row as it stands in the file; null for a good row."""
READ_FROM: Final = "@read_from"
"""Where the payload was read from, if it stood as JSON text in one column: an entry of `CHANGES`; else null."""
EVIDENCE: Final = "@evidence"
"""What its whole file tells about how a record is to be read (`records.notation`); null or absent: nothing."""
CODE: Final = "@code"
"""The code that Stripe gave; null when unknown or when the file is no failed-records file."""
CODES: Final = "@codes"
"""All of Stripe's codes for a record, comma-separated, where it was refused for several errors; else null."""
MESSAGE: Final = "@message"
"""Stripe's text for the refusal; all texts of a record that was refused for several errors."""

OUTCOME: Final = "@outcome"
"""`valid`, `repaired`, `deferred` or `quarantined`."""
FAULT: Final = "@fault"
"""The code under which the record is counted: Stripe's if given, else the first fault found; null when valid."""
REASON: Final = "@reason"
"""Why the outcome is what it is, as a slug."""
SUGGESTION: Final = "@suggestion"
"""A sentence for the person who looks, or null."""
VALID_FROM: Final = "@valid_from"
"""RFC 3339 time from which a deferred record is valid; null otherwise."""
AWAITS: Final = "@awaits"
"""What has to come before Stripe takes the record, as `customer:cus_1` or `meter:api_calls`; null otherwise."""
QUANTITY: Final = "@quantity"
"""Plain decimal text of the record's quantity after repair, or of its one unambiguous reading; else null."""
VALUE_READ: Final = "@value_read"
"""`yes` where metermend has put a plain decimal in place of the quantity that its sender wrote in his way."""
MENDED_BY_HAND: Final = "@mended_by_hand"
"""`yes` where somebody has changed a record in the file that metermend put it aside in, since Stripe refused it."""
CHANGES: Final = "@changes"
"""JSON `[{"column", "before", "after", "remedy"}]`; null when nothing changed."""

READER_COLUMNS: Final = (ROW, SOURCE, UNREADABLE, RAW, READ_FROM)
"""What the reader adds to the sender's columns."""
FAILURE_COLUMNS: Final = (CODE, MESSAGE)
"""What `workers.reports` adds; `CODES` only where a record was refused for several errors."""
PLAN_COLUMNS: Final = (OUTCOME, FAULT, REASON, SUGGESTION, VALID_FROM, AWAITS, QUANTITY, CHANGES)
"""What `workers.remedies` adds."""

_MARKS: Final = ("@", "*", "^")

MAX_IDENTIFIER_LENGTH: Final = 100
MAX_EVENT_NAME_LENGTH: Final = 100
MAX_SIGNIFICANT_DIGITS: Final = 15
MAX_AGE: Final = timedelta(days=35)
MAX_AHEAD: Final = timedelta(minutes=5)

MAX_FILE_BYTES: Final = 1_000_000_000
MAX_FILE_RECORDS: Final = 1_000_000
MAX_DASHBOARD_BYTES: Final = 5_000_000
MAX_FILE_NAME_LENGTH: Final = 254


def dtype_of(column: str) -> pl.DataType:
    """Return the column's type in a canonical frame: Int64 for `ROW`, a time for `WRITTEN`, text for all others."""
    special = {ROW: pl.Int64(), WRITTEN: pl.Datetime("us", "UTC")}
    return special.get(column, pl.String())


def empty_frame(columns: tuple[str, ...] = REQUIRED_COLUMNS) -> pl.DataFrame:
    """Return a canonical frame without rows: the given sender's columns, then the reader's."""
    return pl.DataFrame(schema={name: dtype_of(name) for name in (*columns, *READER_COLUMNS)})


def payload_column(key: str) -> str:
    """Return the column that carries the payload key, e.g. `tokens` -> `payload_tokens`."""
    return PAYLOAD_PREFIX + key


def is_payload(column: str) -> bool:
    """Tell whether the column carries a payload key."""
    return column.startswith(PAYLOAD_PREFIX)


def payload_key(column: str) -> str:
    """Return the payload key that a payload column carries."""
    return column.removeprefix(PAYLOAD_PREFIX)


def payload_columns(columns: list[str]) -> list[str]:
    """Return the payload columns in Stripe's template order: customer, value, then the others as they stand."""
    return sorted(filter(is_payload, columns), key=lambda name: (name != CUSTOMER, name != VALUE))


def template_order(columns: list[str]) -> list[str]:
    """Return the columns in Stripe's template order, then the other payload columns, then the rest, by name."""
    first = [name for name in TEMPLATE_COLUMNS if name in columns]
    others = sorted(set(columns) - set(first), key=lambda name: (not is_payload(name), name))
    return first + others


def carried_name(original: str) -> str:
    """Return the frame's name for a sender's column: `@` goes before what is ours (`@`) or polars' (`*`, `^`)."""
    return "@" + original if original.startswith(_MARKS) else original


def original_name(carried: str) -> str:
    """Return the sender's name for a column of the frame; the inverse of `carried_name`."""
    return carried.removeprefix("@") if _is_marked(carried) else carried


def original_columns(columns: list[str]) -> list[str]:
    """Return the columns of a frame that came from the sender, in their order."""
    return [name for name in columns if not name.startswith("@") or _is_marked(name)]


def _is_marked(carried: str) -> bool:
    return carried.startswith("@") and carried[1:].startswith(_MARKS)


Records = TypeVar("Records", pl.DataFrame, pl.LazyFrame)


def with_columns_of(records: Records, columns: Iterable[str]) -> Records:
    """Add the columns that the records lack, as null text."""
    present = set(records.collect_schema().names())
    missing = [name for name in dict.fromkeys(columns) if name not in present]
    return records.with_columns(pl.lit(None, pl.String).alias(name) for name in missing) if missing else records


def scan_record_set(path: Path) -> pl.LazyFrame:
    """Return a record set, a frame in the archive, to read lazily; raises Corrupt where it is none."""
    frames = pl.scan_parquet(path)
    try:
        frames.collect_schema()
    except PolarsError as error:
        raise Corrupt(f"{path.name} is no record set ({error})") from error
    return frames
