"""Identifiers of our own: deterministic, so that a retry is the same record to Stripe and never a second one.

Stripe keeps an identifier unique for at least 24 hours (stripe-python, `billing.MeterEvent`, `identifier`), of at
most 100 characters. Revision 1 of a record has the sender's identifier; revision n has `~rn` appended to it. What
has no identifier is told apart by its content: all else that Stripe bills by.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from workers.records.schema import (
    EVENT_NAME,
    IDENTIFIER,
    MAX_IDENTIFIER_LENGTH,
    ROW,
    TIMESTAMP,
    payload_columns,
)

MARK: Final = "~r"
_NUMBER: Final = "~r([2-9]|[1-9][0-9]{1,3})"
REVISED: Final = re.compile(f"(?s)(.+){_NUMBER}")
LONGEST_ORIGIN: Final = MAX_IDENTIFIER_LENGTH - len("~r9999")
_IDENTIFIER: Final = "identifier"
_LATEST: Final = "latest"


def content(columns: Sequence[str], shown: Callable[[pl.Expr], pl.Expr] = lambda cell: cell) -> pl.Expr:
    """Return one text for time, event name and payload; equal for equal records only.

    `columns` are the frame's, of which those that Stripe does not bill by do not matter. Blank cells say nothing.
    `shown` is how a cell is taken.
    """
    billed = [TIMESTAMP, EVENT_NAME, *sorted(payload_columns(list(columns)))]
    cells = [
        pl.when(cell.str.strip_chars() != "").then(pl.format("{}={}:{};", pl.lit(name), cell.str.len_bytes(), cell))
        for name, cell in ((name, shown(pl.col(name))) for name in billed)
    ]
    return pl.concat_str(cells, ignore_nulls=True)


def is_nameless() -> pl.Expr:
    """Tell whether the record has no identifier."""
    return (pl.col(IDENTIFIER).str.strip_chars() == "").fill_null(value=True)


def is_made() -> pl.Expr:
    """Tell whether the record had no identifier, and `with_identifiers` has made one."""
    return pl.col(IDENTIFIER).str.contains("^mm-[0-9a-f]{24}-").fill_null(value=False)


def source_digest(source: str) -> str:
    """Return what stands for a source in the identifiers made for its records: 24 hex digits of its sha256."""
    return hashlib.sha256(source.encode()).hexdigest()[:24]


def with_identifiers(source: str, row: pl.Expr | None = None) -> pl.Expr:
    """Return the identifier of each record, or `mm-<digest of source>-<row>` where the sender gave none.

    `row` is the text that names a record in its source; the default is `ROW`.

    `source` has to name the content, not only the file: an import set's id, a file id, or a digest. Two files that
    share a name would otherwise share identifiers, and Stripe would take one record for the other.
    """
    made = pl.concat_str(
        pl.lit(f"mm-{source_digest(source)}-"), pl.col(ROW).cast(pl.String) if row is None else row
    )
    return pl.when(~is_nameless()).then(pl.col(IDENTIFIER)).otherwise(made)


def origin_of(identifier: str) -> tuple[str, int]:
    """Return the origin's identifier and the revision that an identifier stands for: `("a", 3)` for `a~r3`."""
    revised = REVISED.fullmatch(identifier)
    return (revised[1], int(revised[2])) if revised else (identifier, 1)


def lines(identifier: pl.Expr) -> pl.Expr:
    """Return what all revisions of one record share: its origin's identifier, or what stands in for a long one."""
    origin = identifier.str.replace(f"(?s)^(.+){_NUMBER}$", "$1")
    too_long = origin.str.len_chars() > LONGEST_ORIGIN
    digest = pl.when(too_long).then(origin).map_elements(_stand_in, return_dtype=pl.String)
    return pl.when(too_long).then(digest).otherwise(origin)


def revisions(identifier: pl.Expr) -> pl.Expr:
    """Return the revision that each identifier stands for, as `origin_of` does; null for null."""
    number = identifier.str.extract(f"(?s)^.+{_NUMBER}$", 1).cast(pl.Int64)
    return pl.when(identifier.is_not_null()).then(number.fill_null(1))


def revision_identifier(identifier: str, revision: int) -> str:
    """Return the identifier of the record's given revision, whatever revision `identifier` stands for.

    At most 100 characters for a revision up to 9999: of a longer origin 64 hex digits of its sha256 stand in.
    """
    origin, _ = origin_of(identifier)
    if revision == 1:
        return origin
    if len(origin) > LONGEST_ORIGIN:
        origin = _stand_in(origin)
    return f"{origin}{MARK}{revision}"


def _stand_in(origin: str) -> str:
    return "mm-" + hashlib.sha256(origin.encode()).hexdigest()


def next_revisions(identifier: pl.Expr, latest: pl.Expr | None = None) -> pl.Expr:
    """Return the identifier of the revision after the one that each identifier stands for.

    `latest` is a later revision of the record that is known to be taken; null where none is. Only identifiers that
    are revisions already, have such, or are too long for a mark go through Python.
    """
    latest = pl.lit(None, pl.Int64) if latest is None else latest
    odd = (
        identifier.str.contains(MARK, literal=True)
        | (identifier.str.len_chars() > LONGEST_ORIGIN)
        | (latest.is_not_null() & identifier.is_not_null())
    )
    known = pl.struct(identifier.alias(_IDENTIFIER), latest.alias(_LATEST))
    by_hand = pl.when(odd).then(known).map_elements(_next_revision, return_dtype=pl.String)
    return pl.when(odd).then(by_hand).otherwise(pl.concat_str(identifier, pl.lit(f"{MARK}2")))


def _next_revision(known: Mapping[str, Any]) -> str:
    identifier: str = known[_IDENTIFIER]
    _, revision = origin_of(identifier)
    return revision_identifier(identifier, max(revision, known[_LATEST] or 1) + 1)
