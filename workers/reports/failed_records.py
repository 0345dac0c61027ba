"""Failed-records files: which columns say what went wrong, and which code a message stands for.

Stripe publishes no schema of these files (Stripe docs, "Record usage in bulk": the complete list of failed records
with detailed error descriptions), so the columns are recognised by their names, and can be declared instead
(`ReadOptions`). Messages become codes only where the text is certain: Stripe's own examples, or the code itself in
the text. Any other message is a refusal for form, `malformed_record`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.errors import FileUnusable
from workers.records.layout import Layout, ReadOptions
from workers.records.schema import CODE, EVENT_NAME, MESSAGE, REQUIRED_COLUMNS, ROW, is_payload

ALREADY_EXISTS: Final = "event_already_exists"
"""Our word for a row whose identifier Stripe has already taken in: held, so never to be sent again."""

_CODE_HEADER: Final = re.compile(r"(?i)^(error|failure|reason)[ _-]?(code|type)$")
_CODE_HEADER_BESIDE_MESSAGE: Final = re.compile(r"(?i)^code$")
_MESSAGE_HEADER: Final = re.compile(r"(?i)error|reason|message|failure")
_ROW_HEADER: Final = re.compile(r"(?i)^(row|line|record)([ _-]?(number|no|num|index))?$")

_ROW_NUMBER: Final = r"(?i)^(?:row|line|record)?\s*#?0*([0-9]+)(?:\.0+)?$"

_MESSAGES: Final = {
    r"^Customer mapping key .+ not found in payload": Code.NO_CUSTOMER_DEFINED,
    r"^No meter was found matching event_name ": Code.NO_METER,
    r"^The value in the event payload can have at most .+ digits": Code.VALUE_TOO_MANY_DIGITS,
    r"^An event already exists with identifier ": ALREADY_EXISTS,
}
"""Texts of Stripe's examples: Stripe docs, "Record usage in bulk"; changelog of 2026-04-22; stripe-python."""


@dataclass(frozen=True)
class FailureColumns:
    """The columns of a failed-records file that are Stripe's: code, message, and row in the original."""

    code: str | None = None
    message: str | None = None
    row: str | None = None


def recognise(layout: Layout, options: ReadOptions | None = None) -> FailureColumns | None:
    """Return the failure columns of a file that repeats the refused records, or null when it is a usage file.

    Declared columns win. A file without a column for a code or a message is a usage file. Raises FileUnusable
    when a declared column is missing, or when the file names failures but does not repeat the records.
    """
    found = failure_columns(layout, options)
    if found is not None and not repeats_records(layout):
        raise FileUnusable(
            "it tells failures but does not repeat the records",
            where=layout.name,
            mend="repair the file that was uploaded instead",
        )
    return found


def repeats_records(layout: Layout) -> bool:
    """Whether the file has the records themselves, not only what was wrong with them."""
    return EVENT_NAME in _columns(layout)


def failure_columns(layout: Layout, options: ReadOptions | None = None) -> FailureColumns | None:
    """Return the failure columns of a file, whether or not it repeats the records; null where it has none.

    Raises FileUnusable when a declared column is missing.
    """
    options = options or ReadOptions()
    columns = _columns(layout)
    declared = (options.code_column, options.error_column, options.row_column)
    for name in filter(None, declared):
        if name not in columns:
            raise FileUnusable(
                f"there is no column {name!r}", where=layout.name, mend=f"it has {', '.join(columns)}"
            )
    found = _found(columns, options)
    return None if found.code is None and found.message is None else found


def _columns(layout: Layout) -> list[str]:
    return [layout.renames.get(name, name) for name in layout.columns]


def annotate(frame: pl.DataFrame, columns: FailureColumns) -> pl.DataFrame:
    """Add `CODE` and `MESSAGE` to the records of a failed-records file; no `CODE` is null."""
    given = _text(frame, columns.code)
    message = _text(frame, columns.message)
    code = pl.coalesce(_as_code(given), _code_of_message(message), given, pl.lit(MALFORMED_RECORD))
    return frame.with_columns(code.alias(CODE), message.alias(MESSAGE))


def with_original_rows(frame: pl.DataFrame, columns: FailureColumns) -> pl.DataFrame:
    """Put the row of the original file into `ROW`, where the failed-records file gives one."""
    row = _text(frame, columns.row).cast(pl.Int64, strict=False)
    return frame.with_columns(pl.coalesce(row, ROW).alias(ROW))


def original_row(columns: FailureColumns) -> pl.Expr:
    """Return the number of each record's row in the original file, as text; null where the file gives none."""
    if columns.row is None:
        return pl.lit(None, pl.String)
    return pl.col(columns.row).str.strip_chars().str.extract(_ROW_NUMBER)


def _found(columns: Sequence[str], options: ReadOptions) -> FailureColumns:
    free = [name for name in columns if name not in REQUIRED_COLUMNS and not is_payload(name)]
    code = options.code_column or next(filter(_CODE_HEADER.search, free), None)
    others = [name for name in free if name != code]
    message = options.error_column or next(filter(_MESSAGE_HEADER.search, others), None)
    if code is None and message is not None:
        code = next(filter(_CODE_HEADER_BESIDE_MESSAGE.search, others), None)
    return FailureColumns(
        code=code,
        message=message,
        row=options.row_column or next(filter(_ROW_HEADER.search, free), None),
    )


def _text(frame: pl.DataFrame, column: str | None) -> pl.Expr:
    if column is None or column not in frame.columns:
        return pl.lit(None, pl.String)
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)


def _as_code(text: pl.Expr) -> pl.Expr:
    return pl.when(text.is_in([*(code.value for code in Code), MALFORMED_RECORD])).then(text)


def _code_of_message(message: pl.Expr) -> pl.Expr:
    named = message.str.extract(rf"\b({'|'.join(Code)})\b")
    known = [pl.when(message.str.contains(text)).then(pl.lit(str(code))) for text, code in _MESSAGES.items()]
    return pl.coalesce(*known, named)
