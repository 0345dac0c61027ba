"""Failed-records files: which columns say what went wrong, and which code a message stands for.

Stripe publishes no schema of these files (Stripe docs, "Record usage in bulk": the complete list of failed records
with detailed error descriptions), so the columns are recognised by their names, and can be declared instead
(`ReadOptions`). Messages become codes only where the text is certain: Stripe's own examples, or the code itself in
the text. Any other message is a refusal for form, `malformed_record`.

Where Stripe has named the file, names of columns are enough (`failure_columns`). A file that somebody gives to a
command may as well be usage with a `reason` of the sender's own: there the texts must speak of a refusal
(`recognise`). A column that holds Stripe's codes, or Stripe's texts, in every filled cell is the one, whatever its
name: taken for usage, what was refused for its data would go out under an identifier that Stripe may hold. A file
in which some rows were refused and others perhaps counted is neither, and is turned away.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Code
from workers.kernel.errors import FileUnusable
from workers.kernel.reasons import ALREADY_EXISTS
from workers.records.files.layout import Layout, ReadOptions
from workers.records.files.nested import RECORD_NESTED
from workers.records.files.usage_file import UsageFile
from workers.records.schema import (
    CODE,
    EVENT_NAME,
    MESSAGE,
    REQUIRED_COLUMNS,
    TIMESTAMP,
    UNREADABLE,
    is_payload,
)

_TOLD: Final = {"filled": pl.Boolean, "refused": pl.Boolean, "stripes": pl.Boolean}
_NAMED: Final = tuple(code.value for code in Code)

_CODE_HEADER: Final = re.compile(r"(?i)^(error|failure|reason)[ _-]?(code|type)$")
_CODE_HEADER_BESIDE_MESSAGE: Final = re.compile(r"(?i)^code$")
_MESSAGE_HEADER: Final = re.compile(r"(?i)error|reason|message|failure")
_ROW_HEADER: Final = re.compile(r"(?i)^(row|line|record)([ _-]?(number|no|num|index))?$")

_ROW_NUMBER: Final = r"(?i)^(?:row|line|record)?\s*#?0*([0-9]+)(?:\.0+)?$"
_PLAIN_HEADER: Final = re.compile(
    r"(?i)^(error|failure|failed|rejection|refusal|reject)[ _-]?(message|code|reason|type|description|detail)s?$"
)
"""A header that no column of usage has."""
_SAYS_NOTHING: Final = ("", "-", "0", "[]", "{}", "n/a", "no", "none", "null", "nil", "false", "ok", "success")
"""What stands in a column for errors where there was none."""
_REFUSAL: Final = (
    r"(?i)\b(invalid|malformed|missing|required|must|unknown|unsupported|rejected|refused|exceeds|not found|"
    r"(could|can|is|does) ?not|too (long|many|far|large)|already exists)\b"
)
_LIKE_A_CODE: Final = r"^[a-z][a-z0-9]*(?:_[a-z0-9]+)+$"
"""A cell that may be a code which Stripe has and nobody here knows yet."""
_FIELD: Final = r"(?i)timestamp|event.?name|identifier|\bvalue|payload|customer|meter|dimension|column|\bfield"
"""What a refusal says, and of what: a text with both, on every row of a file, is no reason of the sender's own."""

_MESSAGES: Final = {
    r"^Customer mapping key .+ not found in payload": Code.NO_CUSTOMER_DEFINED,
    r"^No meter was found matching event_name ": Code.NO_METER,
    r"^The value in the event payload can have at most .+ digits": Code.VALUE_TOO_MANY_DIGITS,
    r"^An event already exists with identifier ": ALREADY_EXISTS,
}
"""Texts of Stripe's examples: Stripe docs, "Record usage in bulk"; changelog of 2026-04-22; stripe-python."""


@dataclass(frozen=True)
class _Proof:
    """Columns that what stands in them proves to be Stripe's: of codes, and of messages."""

    codes: Sequence[str] = ()
    messages: Sequence[str] = ()

    def __contains__(self, column: str | None) -> bool:
        return column in self.codes or column in self.messages


@dataclass(frozen=True)
class FailureColumns:
    """The columns of a failed-records file that are Stripe's: code, message, and row in the original."""

    code: str | None = None
    message: str | None = None
    row: str | None = None


def recognise(
    file: UsageFile,
    options: ReadOptions | None = None,
    ignored: Collection[str] = (),
    codes: Collection[str] = _NAMED,
) -> FailureColumns | None:
    """Return the failure columns of a file that repeats the refused records, or null when it is a usage file.

    Declared columns win; the `ignored` are none of Stripe's; `codes` are those of Stripe's that are known. Any
    others must tell a refusal on every row: in a column whose name leaves no doubt, or in Stripe's words, or beside
    a record that stands inside the row. Raises FileUnusable when a declared column is missing, when the file names
    failures but does not repeat the records, or when it tells a refusal of some of its rows only.
    """
    options = options or ReadOptions()
    proof = _proof(file, options, ignored, codes)
    found = _failure_columns(file.layout, options, proof, ignored)
    declared = options.code_column or options.error_column
    if found is None or not (declared or _tells_refusals(file, found, proof, codes)):
        return None
    if not repeats_records(file.layout):
        raise FileUnusable(
            "it tells failures but does not repeat the records",
            where=file.layout.name,
            mend="repair the file that was uploaded instead",
        )
    return found


def _tells_refusals(file: UsageFile, columns: FailureColumns, proof: _Proof, codes: Collection[str]) -> bool:
    """Tell whether every row says that it was refused. Raises FileUnusable where only some of them do."""
    if _has_no_usage(file.layout):
        return True
    wanted = [name for name in (columns.code, columns.message) if name]
    parts = (_told(file.read(part, wanted), columns, codes) for part in file.parts())
    told = pl.concat([pl.DataFrame(schema=_TOLD), *parts])
    plain = columns.code in proof or columns.message in proof or _is_plain(file.layout, columns)
    refused = told["filled"] if plain else told["refused"]
    if not told.height or refused.all():
        return bool(told.height)
    if told["stripes"].any() or (plain and refused.any()):
        mend = "the others may have been counted: keep the refused ones alone, or say --kind usage if none was sent"
        what = f"column {columns.message or columns.code!r} tells a refusal on"
        raise FileUnusable(f"{what} {refused.sum():,} of {told.height:,} rows", where=file.layout.name, mend=mend)
    return False


def _has_no_usage(layout: Layout) -> bool:
    columns = _columns(layout)
    return TIMESTAMP not in columns and EVENT_NAME not in columns and not any(map(is_payload, columns))


def _told(frame: pl.DataFrame, columns: FailureColumns, codes: Collection[str]) -> pl.DataFrame:
    """Return of each row whether it says anything, whether that is a refusal, and whether in Stripe's words."""
    code, message = _text(frame, columns.code), _text(frame, columns.message)
    said = pl.concat_str(code, message, separator=" ", ignore_nulls=True)
    stripes = pl.coalesce(_as_code(code, codes), _code_of_message(message, codes)).is_not_null()
    refused = stripes | (said.str.contains(_REFUSAL) & said.str.contains(_FIELD))
    filled = ~said.str.to_lowercase().is_in(_SAYS_NOTHING)
    readable = frame.filter(pl.col(UNREADABLE).is_null())
    told = readable.select(filled=filled, refused=refused, stripes=stripes)
    return told.select(pl.all().fill_null(value=False))


def _is_plain(layout: Layout, columns: FailureColumns) -> bool:
    """Tell whether the columns' names, or a record that stands inside the row beside them, leave no doubt."""
    names = filter(None, (columns.code, columns.message))
    nested = any(finding.slug == RECORD_NESTED for finding in layout.findings)
    return nested or any(map(_PLAIN_HEADER.search, names))


def repeats_records(layout: Layout) -> bool:
    """Whether the file has the records themselves, not only what was wrong with them."""
    return EVENT_NAME in _columns(layout)


def failure_columns(
    file: UsageFile,
    options: ReadOptions | None = None,
    ignored: Collection[str] = (),
    codes: Collection[str] = _NAMED,
) -> FailureColumns | None:
    """Return the failure columns of a file, whether or not it repeats the records; null where it has none.

    Raises FileUnusable when a declared column is missing.
    """
    options = options or ReadOptions()
    return _failure_columns(file.layout, options, _proof(file, options, ignored, codes), ignored)


def named_columns(layout: Layout) -> FailureColumns | None:
    """Return the columns that have the names of failure columns, whatever stands in them; null without any."""
    return _failure_columns(layout, ReadOptions(), _Proof())


def _failure_columns(
    layout: Layout, options: ReadOptions, proof: _Proof, ignored: Collection[str] = ()
) -> FailureColumns | None:
    columns = _columns(layout)
    for name in filter(None, (options.code_column, options.error_column, options.row_column)):
        if name not in columns:
            mend = f"it has {', '.join(columns)}"
            raise FileUnusable(f"there is no column {name!r}", where=layout.name, mend=mend)
    found = _found([name for name in columns if name not in ignored], options, proof)
    return None if found.code is None and found.message is None else found


def _proof(file: UsageFile, options: ReadOptions, ignored: Collection[str], codes: Collection[str]) -> _Proof:
    """Find the columns in which every filled cell is a code, one of them known, or a text of Stripe's.

    The file is read as long as a column may be one: of usage with columns of the sender's own, a part.
    """
    free = _free(_columns(file.layout))
    undeclared = None in (options.code_column, options.error_column)
    left = set(free) - set(ignored) if undeclared else set()
    coded, messages, known, filled = set(left), set(left), set[str](), set[str]()
    for part in file.parts():
        if not left:
            break
        frame = file.read(part, sorted(left)).filter(pl.col(UNREADABLE).is_null())
        for name in sorted(left):
            told = frame.select(_cells(name)).to_series().drop_nulls().unique().to_frame(name)
            judged = told.select(
                known=pl.col(name).is_in(list(codes)),
                like=pl.col(name).str.contains(_LIKE_A_CODE),
                told=_code_of_message(pl.col(name), codes).is_not_null(),
            )
            filled |= {name} if judged.height else set()
            known |= {name} if judged["known"].any() else set()
            coded -= set() if judged["like"].all() else {name}
            messages -= set() if judged["told"].all() else {name}
        left = coded | messages
    of_codes = [name for name in free if name in coded & known]
    of_messages = [name for name in free if name in messages & filled and name not in of_codes]
    return _Proof(of_codes, of_messages)


def _cells(column: str) -> pl.Expr:
    """Return what a column says of a refusal; null where that is nothing."""
    text = pl.col(column).str.strip_chars()
    return pl.when(~text.str.to_lowercase().is_in(_SAYS_NOTHING)).then(text)


def _columns(layout: Layout) -> list[str]:
    return [layout.renames.get(name, name) for name in layout.columns]


def annotate(frame: pl.DataFrame, columns: FailureColumns, codes: Collection[str] = _NAMED) -> pl.DataFrame:
    """Add `CODE` and `MESSAGE` to the records of a failed-records file; no `CODE` is null.

    `codes` are those of Stripe's that are known: one of them that stands in a message is the record's.
    """
    given, message = _text(frame, columns.code), _text(frame, columns.message)
    code = pl.coalesce(_as_code(given, codes), _code_of_message(message, codes), given, pl.lit(MALFORMED_RECORD))
    return frame.with_columns(code.alias(CODE), message.alias(MESSAGE))


def given_row(frame: pl.DataFrame, columns: FailureColumns) -> pl.Expr:
    """Return the number of each record's row in the original file; null where the file gives none."""
    number = original_row(columns) if columns.row in frame.columns else pl.lit(None, pl.String)
    return number.cast(pl.Int64, strict=False)


def original_row(columns: FailureColumns) -> pl.Expr:
    """Return the number of each record's row in the original file, as text; null where the file gives none."""
    if columns.row is None:
        return pl.lit(None, pl.String)
    return pl.col(columns.row).str.strip_chars().str.extract(_ROW_NUMBER)


def _free(columns: Sequence[str]) -> list[str]:
    """Return the columns that Stripe does not bill by."""
    return [name for name in columns if name not in REQUIRED_COLUMNS and not is_payload(name)]


def _found(columns: Sequence[str], options: ReadOptions, proof: _Proof) -> FailureColumns:
    """Return the columns that were declared, else are proven to be Stripe's, else have the name."""
    free = _free(columns)
    named = list(filter(_CODE_HEADER.search, free))
    codes = [*(name for name in named if name in proof.codes), *proof.codes, *named]
    code = options.code_column or next(iter(codes), None)
    others = [name for name in free if name != code and name not in proof.codes]
    worded = list(filter(_MESSAGE_HEADER.search, others))
    messages = [*(name for name in worded if name in proof.messages), *worded, *proof.messages]
    message = options.error_column or next(iter(messages), None)
    if code is None and message is not None:
        code = next((name for name in others if _CODE_HEADER_BESIDE_MESSAGE.search(name) and name != message), None)
    return FailureColumns(code, message, options.row_column or next(filter(_ROW_HEADER.search, free), None))


def _text(frame: pl.DataFrame, column: str | None) -> pl.Expr:
    if column is None or column not in frame.columns:
        return pl.lit(None, pl.String)
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)


def _as_code(text: pl.Expr, codes: Collection[str]) -> pl.Expr:
    return pl.when(text.is_in([*codes, MALFORMED_RECORD])).then(text)


def _code_of_message(message: pl.Expr, codes: Collection[str]) -> pl.Expr:
    named = message.str.extract(rf"\b({'|'.join(codes)})\b")
    known = [pl.when(message.str.contains(text)).then(pl.lit(str(code))) for text, code in _MESSAGES.items()]
    return pl.coalesce(*known, named)
