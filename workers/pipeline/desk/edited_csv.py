"""A case's quarantine that comes back from a spreadsheet: which cells a person has edited, and which he may not.

Records are matched by the column `record`, so rows may be sorted, left out, and their columns moved. What a
spreadsheet does by itself is no edit: the mark between cells, line ends, a byte order mark, an apostrophe of ours,
and numbers that it writes its own way (`007` as `7`, an identifier as `1.23457E+19`), which are reported.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from decimal import Context as Arithmetic
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.journal import WAITING, Bucket
from workers.pipeline.audit.case_csv import KEY_PREFIX, Sheet, sheet
from workers.pipeline.context import Context
from workers.pipeline.desk.given_csv import LINE, GivenCsv
from workers.pipeline.record_sets import RECORD
from workers.records.files.write import has_our_apostrophe
from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP, is_payload

COLUMN: Final = "column"
BEFORE: Final = "before"
AFTER: Final = "after"
EDITS_SCHEMA: Final = {RECORD: pl.Int64(), COLUMN: pl.String(), BEFORE: pl.String(), AFTER: pl.String()}
"""One row for each edited cell; null is an empty one."""

_PLAIN: Final = re.compile(r"^[+-]?\d+(\.\d+)?$", re.ASCII)
_EXPONENT: Final = re.compile(r"^[+-]?\d+([.,]\d+)?[eE][+-]?\d{1,3}$", re.ASCII)
"""No spreadsheet writes a longer exponent, and nobody reckons with one."""
_SPREADSHEET_DIGITS: Final = 15
_MAY_CHANGE: Final = (
    "only timestamp, event_name and payload columns may change, and an identifier where there was none"
)


@dataclass(frozen=True)
class Edits:
    """The edited cells (`EDITS_SCHEMA`), and a sentence for each that a spreadsheet has written its own way."""

    cells: pl.DataFrame
    left: Sequence[str] = ()


def read_edits(context: Context, case_id: str, path: Path) -> Edits:
    """Return what was edited in the quarantine of a case. Raises InputUnusable with row and column."""
    there = sheet(context, case_id, Bucket.QUARANTINED)
    if there is None:
        raise InputUnusable("no record of it is quarantined", where=case_id)
    edits = _edits(GivenCsv(path, there), there)
    if edits.cells.is_empty():
        reported = f"; {edits.left[0]}" if edits.left else ""
        raise InputUnusable(f"no cell was edited{reported}", where=str(path), mend=_MAY_CHANGE)
    return edits


def edit_of(context: Context, case_id: str, key: str, field: str, value: str) -> Edits:
    """Return the edit of one cell of a waiting record. Raises InputUnusable."""
    for bucket in WAITING:
        there = sheet(context, case_id, bucket)
        if there is None:
            continue
        # As text: whatever somebody writes for a key is no number too large for a column of numbers.
        found = there.records.filter(pl.col(RECORD).cast(pl.String) == key.removeprefix(KEY_PREFIX)).collect()
        if not found.is_empty():
            columns = {header: name for name, header in there.headers.items()}
            column = columns.get(field, field)
            before = found.item(0, column) if column in found.columns else None
            if not _may_change(column, before):
                raise InputUnusable("it may not be changed", where=field, mend=_MAY_CHANGE)
            if (before or "") == value:
                raise InputUnusable("that is what stands there", where=field)
            row = {RECORD: found.item(0, RECORD), COLUMN: column, BEFORE: before, AFTER: value or None}
            return Edits(pl.DataFrame([row], schema=EDITS_SCHEMA))
    raise InputUnusable("no such record waits", where=key, mend=f"metermend quarantine {case_id}")


def _edits(given: GivenCsv, there: Sheet) -> Edits:
    """Compare cell by cell with what stands there."""
    names = {header: name for name, header in there.headers.items()}
    stands = there.records.collect()
    shown = Sheet(stands.lazy(), there.headers).cells().collect()
    edited: list[dict[str, object]] = []
    left: list[str] = []
    for header in given.columns:
        column = names.get(header, header)
        for line, record, before, cell in _changed(given.frame, stands, shown, header, column):
            if is_reformatted(before or "", cell):
                left.append(f"row {line}, column {header}: {before} came back as {cell}; it stays {before}")
            elif _may_change(column, before):
                edited.append({RECORD: record, COLUMN: column, BEFORE: before, AFTER: cell or None})
            else:
                raise given.wrong(line, header, f"{before or 'an empty cell'} was changed to {cell!r}", _MAY_CHANGE)
    return Edits(pl.DataFrame(edited, schema=EDITS_SCHEMA).sort(RECORD, COLUMN), left)


def _changed(
    given: pl.DataFrame, stands: pl.DataFrame, shown: pl.DataFrame, header: str, column: str
) -> Iterator[tuple[int, int, str | None, str]]:
    """Yield line, record, the text that stands there and the one that came back, where they are not the same."""
    before = pl.lit(stands[column].cast(pl.String)) if column in stands.columns else pl.lit(None, pl.String)
    printed = pl.lit(shown[header].cast(pl.String)) if header in shown.columns else pl.lit("")
    both = stands.select(RECORD, before.alias(BEFORE), printed.alias("@shown"))
    cells = given.select(LINE, RECORD, pl.col(header).alias(AFTER)).join(both, on=RECORD, maintain_order="left")
    back = _unified(pl.col(AFTER))
    same = (back == _unified(pl.col("@shown"))) | (back == _unified(pl.col(BEFORE)))
    bare = pl.when(has_our_apostrophe(back)).then(back.str.slice(1)).otherwise(back)
    yield from cells.filter(~same).select(LINE, RECORD, BEFORE, bare.alias(AFTER)).iter_rows()


def _unified(text: pl.Expr) -> pl.Expr:
    return text.fill_null("").str.replace_all("\r\n", "\n", literal=True)


def _may_change(column: str, before: str | None) -> bool:
    is_open = column in (TIMESTAMP, EVENT_NAME) or is_payload(column)
    return is_open or (column == IDENTIFIER and not before)


def is_reformatted(before: str, cell: str) -> bool:
    """Tell whether a cell says what it said, as a spreadsheet writes it: another form of one number or truth value.

    Who writes out a number that stood there with an exponent has edited it: a spreadsheet never does.
    """
    was, now = before.strip(), cell.strip()
    if was.casefold() in ("true", "false"):
        return was.casefold() == now.casefold()
    if _EXPONENT.match(was) and not _EXPONENT.match(now):
        return False
    old, new = _number(was), _number(now)
    if old is None or new is None:
        return False
    if old == new:
        return True
    digits = len(old.as_tuple().digits)
    shown = max(len(new.normalize().as_tuple().digits), 1)
    rounded = _EXPONENT.match(now) is not None or digits > _SPREADSHEET_DIGITS
    return rounded and shown <= _SPREADSHEET_DIGITS and new in _cut(old, shown, exact=bool(_EXPONENT.match(now)))


def _cut(number: Decimal, digits: int, *, exact: bool) -> set[Decimal]:
    """Return a number rounded to so many digits; a spreadsheet that keeps 15 of them cuts the others off."""
    kept = digits if exact else _SPREADSHEET_DIGITS
    modes = (ROUND_HALF_UP, ROUND_DOWN)
    return {Arithmetic(prec=kept, rounding=mode).plus(number) for mode in modes}


def _number(text: str) -> Decimal | None:
    if _PLAIN.match(text):
        return Decimal(text)
    return Decimal(text.replace(",", ".")) if _EXPONENT.match(text) else None
