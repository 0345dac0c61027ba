"""Rows of failed-records files, and the records that they tell: one may stand there once for each of its errors.

Stripe publishes no schema of these files (Stripe docs, "Record usage in bulk": the complete list of failed
records). So rows with one row number of the original are one record, and so are equal rows with one identifier.
Rows with one row number that differ contradict each other. Of equal rows with neither, nobody can tell whether they
are one row told twice or two rows: the later ones wait for a person.

In memory stand the errors of rows that tell a record again, and the numbers of rows that share a key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD
from workers.kernel.reasons import ROW_CONTRADICTED, TOLD_TWICE
from workers.offline.duplicates import FIRST, REPEATS_SCHEMA, Portion, RepeatFinder, read_rows
from workers.offline.scan import FileFacts, in_order, portions_of
from workers.records.identifiers import content, is_nameless
from workers.records.schema import (
    CODE,
    CODES,
    IDENTIFIER,
    MESSAGE,
    REASON,
    ROW,
    SUGGESTION,
    UNREADABLE,
)
from workers.remedies.codes import stripes_codes
from workers.remedies.outcome import quarantined
from workers.reports.failed_records import FailureColumns, annotate, original_row

HELD_SCHEMA: Final = {ROW: pl.Int64, REASON: pl.String, SUGGESTION: pl.String}
"""A row that is not to be sent, and what a person is told of it."""

_ADVICE: Final = {
    ROW_CONTRADICTED: "the file tells this row of the original twice, and differently: see there which is right",
    TOLD_TWICE: "an earlier row is equal, and neither identifier nor row number tells the two apart: "
    "if it stands twice in the original, give this one an identifier",
}
_CONTENT: Final = "@content"
_NUMBERED: Final = "@numbered"
_NAMED: Final = "@named"
_DIFFERS: Final = "@differs"
_HASH: Final = "@hash"
_BEFORE: Final = "@before"
_NUMBERED_SCHEMA: Final = {ROW: pl.Int64, _NUMBERED: pl.Boolean, _BEFORE: pl.Int64}
_TOLD_SCHEMA: Final = {
    ROW: pl.Int64, CODE: pl.String, MESSAGE: pl.String, _CONTENT: pl.String, _NUMBERED: pl.Boolean,
    _NAMED: pl.Boolean,
}  # fmt: skip
_ERRORS_SCHEMA: Final = {ROW: pl.Int64, CODES: pl.String, MESSAGE: pl.String}


@dataclass(frozen=True, eq=False)
class FailedRows:
    """What the rows of a failed-records file are to each other; numbered in the file.

    `again` tell an earlier row's record once more; of them `unidentified` have no identifier. `errors` are all
    codes and messages of the records that they tell. `held` (`HELD_SCHEMA`) must not be sent.
    """

    again: pl.Series = field(default_factory=lambda: pl.Series(ROW, dtype=pl.Int64))
    unidentified: int = 0
    errors: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_ERRORS_SCHEMA))
    held: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=HELD_SCHEMA))

    def records_of(self, told: pl.DataFrame, columns: FailureColumns) -> pl.DataFrame:
        """Return the records that annotated rows of the file tell, each with all its codes and messages."""
        if self.again.is_empty():
            return told
        firsts = told.filter(~pl.col(ROW).is_in(self.again.implode()))
        joined = firsts.join(self.errors, on=ROW, how="left", suffix=" all", maintain_order="left")
        message = pl.coalesce(f"{MESSAGE} all", MESSAGE)
        shown = [] if columns.message is None else [message.alias(columns.message)]
        if columns.code is not None:
            coded = pl.when(pl.col(CODES) != MALFORMED_RECORD).then(CODES)
            shown.append(pl.coalesce(coded, columns.code).alias(columns.code))
        return joined.with_columns(message.alias(MESSAGE), *shown).drop(f"{MESSAGE} all")


def failed_rows(facts: Sequence[FileFacts], failures: Sequence[FailureColumns | None]) -> list[FailedRows]:
    """Find the rows that tell a record again, or may; `failures` are null for usage files, whose rows do not.

    Goes through files that number rows or lack identifiers.
    """
    files = list(zip(facts, failures, strict=True))
    equal = _equal_rows([(of_file, columns) for of_file, columns in files if columns is not None])
    return [
        FailedRows() if columns is None else _failed_rows(of_file, _told_together(of_file, columns), equal)
        for of_file, columns in files
    ]


def hold_rows(decided: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Put the rows of `held` (`HELD_SCHEMA`) into quarantine, whatever was decided of them."""
    if held.is_empty():
        return decided
    joined = decided.join(held, on=ROW, how="left", suffix=" held", maintain_order="left")
    reason, advice = pl.col(f"{REASON} held"), pl.col(f"{SUGGESTION} held")
    return quarantined(joined, reason.is_not_null(), reason, advice).drop(f"{REASON} held", f"{SUGGESTION} held")


def _failed_rows(facts: FileFacts, told: pl.DataFrame, equal: pl.DataFrame) -> FailedRows:
    """Put together what is known of the rows of one file."""
    alike, before = told.filter(~pl.col(_DIFFERS)), facts.before
    again = alike.filter(pl.col(ROW) > pl.col(FIRST))
    contradicted = told.filter(_DIFFERS, _NUMBERED)[ROW]
    twice = facts.within(equal.filter(~pl.col(ROW).is_in(told[ROW].implode())))[ROW]
    return FailedRows(
        again=again[ROW] - before,
        unidentified=int((~again[_NAMED]).sum()),
        errors=alike.group_by(FIRST, maintain_order=True)
        .agg(pl.col(CODE).unique(maintain_order=True), pl.col(MESSAGE).drop_nulls().unique(maintain_order=True))
        .select(
            (pl.col(FIRST) - before).alias(ROW),
            pl.col(CODE).list.join(",").alias(CODES),
            pl.col(MESSAGE).list.join("; "),
        ),
        held=pl.concat([_held(contradicted - before, ROW_CONTRADICTED), _held(twice, TOLD_TWICE)]),
    )


def _held(rows: pl.Series, reason: str) -> pl.DataFrame:
    return rows.to_frame(ROW).with_columns(pl.lit(reason).alias(REASON), pl.lit(_ADVICE[reason]).alias(SUGGESTION))


def _told_together(facts: FileFacts, columns: FailureColumns) -> pl.DataFrame:
    """Return the rows that share a row number or, without one, an identifier: `@first`, and what each tells."""
    number = original_row(columns)
    key = (
        pl.when(number.is_not_null())
        .then(pl.concat_str(pl.lit("row "), number))
        .when(~is_nameless())
        .then(pl.concat_str(pl.lit("identifier "), IDENTIFIER))
    )
    may_share = columns.row is not None or facts.repeats[IDENTIFIER].height > 0
    repeats = _repeats(facts.portions, key, facts.columns) if may_share else pl.DataFrame(schema=REPEATS_SCHEMA)

    whole = pl.concat_str(content(facts.columns), pl.col(IDENTIFIER).fill_null(""), separator="\n")
    told = [
        annotate(rows, columns, stripes_codes()).select(
            ROW, CODE, MESSAGE, whole.alias(_CONTENT),
            number.is_not_null().alias(_NUMBERED),
            (~is_nameless()).alias(_NAMED),
        )
        for rows in read_rows(facts.portions, repeats[ROW], facts.columns)
    ]  # fmt: skip
    differs = (pl.col(_CONTENT).n_unique() > 1).over(FIRST)
    tables = [pl.DataFrame(schema=_TOLD_SCHEMA), *told]
    return pl.concat(tables).join(repeats, on=ROW).with_columns(differs.alias(_DIFFERS)).sort(ROW).drop(_CONTENT)


def _equal_rows(files: Sequence[tuple[FileFacts, FailureColumns]]) -> pl.DataFrame:
    """Return the `@row` of rows without identifier that equal an earlier one, and may be that one told again.

    Rows of one file that it gives different numbers are two.
    """
    lacking = [(facts, failure) for facts, failure in files if facts.missing_identifiers]
    columns = list(dict.fromkeys(name for facts, _ in lacking for name in facts.columns))
    key = pl.when(is_nameless() & pl.col(UNREADABLE).is_null()).then(content(columns))
    repeats = _repeats(portions_of([facts for facts, _ in lacking]), key, columns)
    tables = [
        rows.select(
            ROW,
            original_row(failure).is_not_null().alias(_NUMBERED),
            pl.lit(facts.before, pl.Int64).alias(_BEFORE),
        )
        for facts, failure in lacking
        for rows in read_rows(facts.portions, repeats[ROW], facts.columns)
    ]
    known = pl.concat([pl.DataFrame(schema=_NUMBERED_SCHEMA), *tables])
    pairs = repeats.filter(pl.col(ROW) > pl.col(FIRST)).join(known, on=ROW)
    both = pairs.join(known.rename({ROW: FIRST}), on=FIRST, suffix=" first")
    two = (pl.col(_BEFORE) == pl.col(f"{_BEFORE} first")) & pl.col(_NUMBERED) & pl.col(f"{_NUMBERED} first")
    return both.filter(~two).select(ROW).sort(ROW)


def _repeats(portions: Sequence[Portion], key: pl.Expr, columns: Sequence[str]) -> pl.DataFrame:
    """Return `@row`, `@first` and `@last` of the rows that share a key."""
    with RepeatFinder(key, columns) as finder:

        def look(portion: Portion) -> pl.DataFrame:
            return portion.file.read(portion.part, columns).select(ROW, finder.hash.alias(_HASH))

        for portion, seen in zip(portions, in_order(look, portions), strict=True):
            finder.add(portion, seen[ROW], seen[_HASH])
        return finder.repeats()
