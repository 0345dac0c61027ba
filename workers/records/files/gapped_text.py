"""Records as text, with gaps for those that are not known yet.

A few records of a file are repaired, all others go out as they came. Those are written at once, while they are
read, and the repaired ones are put in between as text: to sort and gather records costs more than to write them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Protocol, Self

import numpy as np

from workers.records.files.csv_grammar import requoted
from workers.records.files.lines import line_starts

Pieces = Sequence[bytes | memoryview]
"""Text in pieces: to join them costs as much as to write them."""


@dataclass(frozen=True)
class RecordText:
    """Records in the shape of a file format, each with the end that the format gives it."""

    pieces: Pieces
    records: int

    @property
    def bytes(self) -> int:
        """Length of the whole text."""
        return sum(map(len, self.pieces))


class GappedText(Protocol):
    """The text of consecutive records, with gaps."""

    @property
    def held(self) -> int:
        """Bytes of memory that it takes until it is filled."""
        ...

    def filled(self, fillings: Iterable[bytes]) -> Pieces:
        """Return the whole text, with one filling, perhaps an empty one, for each gap; else raise ValueError."""
        ...


@dataclass(frozen=True)
class Written:
    """The text before, between and behind the gaps: one piece more than there are gaps."""

    pieces: Pieces

    @classmethod
    def of_lines(cls, text: bytes, before: Sequence[int]) -> Self:
        """Take lines, one a record, with gaps in between; `before` are the lines that stand before each gap."""
        starts = line_starts(text)
        edges = starts[np.asarray([0, *before, len(starts) - 1])].tolist()
        return cls([memoryview(text)[start:end] for start, end in pairwise(edges)])

    @property
    def held(self) -> int:
        """The pieces' bytes."""
        return sum(map(len, self.pieces))

    def filled(self, fillings: Iterable[bytes]) -> Pieces:
        """Return the pieces with the fillings between them."""
        *before, last = self.pieces
        return [*chain.from_iterable(zip(before, fillings, strict=True)), last]


@dataclass(frozen=True)
class Lines:
    """Lines of a CSV file, one a record, that can be read again; `gaps` are those left out, numbered from 0."""

    read: Callable[[], bytes]
    records: int
    gaps: Sequence[int]

    @property
    def held(self) -> int:
        """Nothing."""
        return 0

    def filled(self, fillings: Iterable[bytes]) -> Pieces:
        """Return the lines with the fillings in place of the gaps; raises ValueError, too, where lines are lost."""
        text = self.read()
        starts, gaps = line_starts(text), np.asarray(self.gaps, np.int64)
        if len(starts) != self.records + 1:
            raise ValueError(f"{self.records} records stand in {len(starts) - 1} lines")
        filled: list[bytes | memoryview] = []
        at = 0
        for start, end, filling in zip(starts[gaps].tolist(), starts[gaps + 1].tolist(), fillings, strict=True):
            filled += (_piece(text, at, start), filling)
            at = end
        return [*filled, _piece(text, at, len(text))]


def _piece(text: bytes, start: int, end: int) -> bytes | memoryview:
    """Return whole lines of the text, with no more quotes than if they were written anew."""
    piece = memoryview(text)[start:end]
    return piece if text.find(b'"', start, end) < 0 else requoted(bytes(piece))
