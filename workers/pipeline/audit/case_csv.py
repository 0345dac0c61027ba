"""The records of a case that wait, as CSV: for a person with a spreadsheet, where the record set is Parquet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.ledger.journal import Bucket
from workers.pipeline.context import Stores
from workers.pipeline.record_sets import COUNTED_AS, RECORD, records_in
from workers.records.files.write import for_spreadsheet
from workers.records.schema import (
    RAW,
    REASON,
    ROW,
    SOURCE,
    SUGGESTION,
    TEMPLATE_COLUMNS,
    VALID_FROM,
    original_columns,
    original_name,
    template_order,
)
from workers.remedies.codes import reasons

KEY_PREFIX: Final = "r"
"""Begins the key of a record, whose number follows: a spreadsheet would make another number of a bare one."""
_OURS: Final = {
    RECORD: "record",
    COUNTED_AS: "code",
    REASON: "reason",
    SUGGESTION: "suggestion",
    VALID_FROM: "valid_from",
    SOURCE: "source",
    ROW: "row",
    RAW: "raw",
}
_ALWAYS: Final = (*TEMPLATE_COLUMNS, RECORD, COUNTED_AS, REASON, SUGGESTION)
_SIGNS: Final = frozenset(_OURS[column] for column in (RECORD, COUNTED_AS, REASON, SUGGESTION))


def is_of_a_case(columns: Iterable[str]) -> bool:
    """Tell whether a table with these columns is one of `write_csv`, and no list of Stripe's."""
    return _SIGNS.issubset(columns)


def write_csv(stores: Stores, case_id: str, bucket: Bucket, path: Path) -> bool:
    """Write the located records that stand in `bucket`; return False, and write nothing, when there are none.

    The sender's columns as they stand, in Stripe's order, then the key of the `record`, `code`, `reason`,
    `suggestion`, `valid_from`, the file and row that a record was read from, and the text of an unreadable row. A
    column in which nothing stands may be left out; where the sender has a column of the name, ours starts with
    `metermend_`. What a spreadsheet would run begins with an apostrophe, a column's name too. Raises Corrupt,
    Transient and Permanent as the archive does.
    """
    there = sheet(stores, case_id, bucket)
    if there is None:
        return False
    there.cells().sink_csv(path)
    return True


@dataclass(frozen=True)
class Sheet:
    """The records of a bucket as a person reads them; `headers` says what each of their columns is called there."""

    records: pl.LazyFrame
    headers: Mapping[str, str]

    def cells(self) -> pl.LazyFrame:
        """Return what stands in the sheet, by header."""
        return self.records.select(_shown(name).alias(header) for name, header in self.headers.items())


def sheet(stores: Stores, case_id: str, bucket: Bucket) -> Sheet | None:
    """Return the located records that stand in a bucket; None when there are none."""
    records = records_in(stores, stores.ledger.queries.entries(case_id), bucket)
    return None if records is None else sheet_of(records)


def sheet_of(records: pl.LazyFrame) -> Sheet:
    """Return records of a case as a person reads them."""
    return Sheet(records, _headers(_filled(records)))


def _shown(name: str) -> pl.Expr:
    """Return what stands in a column; where a record carries no advice of its own, its reason's next step."""
    if name == ROW:
        return pl.col(name)
    if name == RECORD:
        return pl.format(KEY_PREFIX + "{}", name)
    if name == SUGGESTION:
        steps = {reason: known.step for reason, known in reasons().items()}
        always = pl.col(REASON).replace_strict(steps, default=None, return_dtype=pl.String)
        return for_spreadsheet(pl.coalesce(SUGGESTION, always))
    return for_spreadsheet(pl.col(name))


def _headers(names: list[str]) -> dict[str, str]:
    """Return what each column is called in the file."""
    columns = template_order(original_columns(names))
    originals = pl.Series(map(original_name, columns), dtype=pl.String)
    headers: dict[str, str] = {}
    for name, header in zip(columns, pl.select(for_spreadsheet(pl.lit(originals))).to_series(), strict=True):
        headers[name] = _free(header, "'", headers)
    for name, header in _OURS.items():
        if name in names:
            headers[name] = _free(header, "metermend_", headers)
    return headers


def _free(header: str, prefix: str, headers: Mapping[str, str]) -> str:
    """Return the header with as many prefixes as it takes to be no other column's."""
    while header in headers.values():
        header = prefix + header
    return header


def _filled(records: pl.LazyFrame) -> list[str]:
    """Return the columns that a reader expects, and those in which something stands."""
    names = records.collect_schema().names()
    filled = records.select(pl.col(names).is_not_null().any()).collect(engine="streaming").row(0, named=True)
    return [name for name in names if filled[name] or name in _ALWAYS]
