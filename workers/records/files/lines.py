"""Looking for signs in large texts, without the new memory that it takes to copy or to mask them whole."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LINE_FEED: Final = ord("\n")
BLOCK: Final = 256 << 10
"""Bytes looked at together by numpy, which is ten times as fast as Python's own counting."""


def line_starts(text: bytes) -> NDArray[np.int64]:
    """Return where each line starts, and where the last one ends. The text ends with a line feed, or is empty."""
    signs = np.frombuffer(text, np.uint8)
    blocks = range(0, len(text), BLOCK)
    feeds = [np.flatnonzero(signs[block : block + BLOCK] == LINE_FEED) + block for block in blocks]
    return np.concatenate([np.array([-1]), *feeds]) + 1


def has_at_most(text: bytes, sign: bytes, most: int) -> bool:
    """Tell whether the sign occurs in the text at most so many times; looks no further than it has to."""
    at = -1
    for _ in range(most + 1):
        at = text.find(sign, at + 1)
        if at < 0:
            return True
    return False
