"""Records that repeat an earlier one's identifier: equal ones are told twice, different ones contradict each other.

Stripe counts the first and skips the others. Whether that is right, only the sender can say. Identifiers themselves
are not compared: where revisions of one record share a key, they differ as they should.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from workers.offline.duplicates import FIRST, OWN_ROW, Portion, read_rows
from workers.offline.scan import FileFacts, portions_of, repeats_of
from workers.records.identifiers import content
from workers.records.schema import IDENTIFIER, ROW, SOURCE, original_columns, original_name

SHOWN: Final = 10
"""Differing records that are shown of a file; the count is exact beyond."""

_CONTENT: Final = "@content"
_SEED: Final = 0


@dataclass(frozen=True)
class Difference:
    """A record that differs from the first one with its identifier; by column, the first's text and its own."""

    identifier: str
    row: int
    first_file: str
    first_row: int
    columns: Mapping[str, tuple[str | None, str | None]]

    def as_json(self) -> dict[str, Any]:
        """Return it as the documents of `check` and `repair` have it."""
        return {
            "identifier": self.identifier,
            "row": self.row,
            "first": {"file": self.first_file, "row": self.first_row},
            "columns": {name: {"first": first, "here": here} for name, (first, here) in self.columns.items()},
        }


@dataclass(frozen=True, eq=False)
class Differences:
    """Rows (Int64) of a file that differ from the first record with their identifier, and some of them in full."""

    rows: pl.Series
    shown: tuple[Difference, ...]


def find_differences(facts: Sequence[FileFacts]) -> list[Differences]:
    """Compare the records that share an identifier. Only parts that hold such records are read again."""
    columns = list(dict.fromkeys(name for of_file in facts for name in of_file.columns))
    portions = portions_of(facts)
    differing = _differing(portions, repeats_of(facts, IDENTIFIER), columns)
    own = [of_file.within(differing) for of_file in facts]
    shown = [
        [(first, row + of_file.before) for row, first in rows.head(SHOWN).iter_rows()]
        for rows, of_file in zip(own, facts, strict=True)
    ]
    texts = _texts(portions, {row for pairs in shown for pair in pairs for row in pair}, columns)
    return [
        Differences(rows[ROW], tuple(_difference(texts[first], texts[row]) for first, row in pairs))
        for rows, pairs in zip(own, shown, strict=True)
    ]


def _differing(portions: Sequence[Portion], groups: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return `@row` and `@first` of records that differ from the first one with their identifier."""
    read = read_rows(portions, groups[ROW].sort(), columns)
    hashes = (records.select(ROW, content(columns).hash(_SEED).alias(_CONTENT)) for records in read)
    told = pl.concat([pl.DataFrame(schema={ROW: pl.Int64, _CONTENT: pl.UInt64}), *hashes])
    pairs = groups.select(ROW, FIRST).join(told, on=ROW)
    both = pairs.join(told.rename({ROW: FIRST}), on=FIRST, suffix=" first")
    return both.filter(pl.col(_CONTENT) != pl.col(f"{_CONTENT} first")).select(ROW, FIRST).sort(ROW)


def _texts(portions: Sequence[Portion], rows: Set[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Return the records of these numbers, each with its file's name and its row there."""
    tables = read_rows(portions, pl.Series(ROW, sorted(rows), dtype=pl.Int64), columns)
    return {record[ROW]: record for table in tables for record in table.iter_rows(named=True)}


def _difference(first: Mapping[str, Any], here: Mapping[str, Any]) -> Difference:
    names = [name for name in original_columns(list(here)) if name != IDENTIFIER and first[name] != here[name]]
    return Difference(
        identifier=here[IDENTIFIER],
        row=here[OWN_ROW],
        first_file=first[SOURCE],
        first_row=first[OWN_ROW],
        columns={original_name(name): (first[name], here[name]) for name in names},
    )
