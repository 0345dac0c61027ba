"""Records while they are read: most work on a part needs no frame of it, and a frame is what costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl


@dataclass(frozen=True)
class CsvLines:
    """The lines of a part of a CSV file, one a record, few of them with quotes.

    Commas separate the `columns`, a line feed ends each line. `read` reads them again: they need not be kept.
    """

    read: Callable[[], bytes]
    columns: Sequence[str]


@dataclass(frozen=True)
class Reading:
    """A part's records, and the lines that they stand in, where they are the lines of such a file."""

    records: pl.LazyFrame
    lines: CsvLines | None = None


class Counted(Protocol):
    """What was made of records, and tells of how many."""

    @property
    def records(self) -> int:
        """All of them, whatever became of them."""
        ...
