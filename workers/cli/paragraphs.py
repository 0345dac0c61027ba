"""Text that fits the terminal it is read in: wrapped there, and one line each where a program reads.

What others wrote is made visible before it is measured, so that no name can push a line out of its place.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from workers.kernel.terminal import visible

NARROWEST = 20


def terminal_width() -> int | None:
    """Return the columns of the terminal; None where a program reads."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def paragraph(text: str, width: int | None, *, indent: str = "", hanging: str | None = None) -> Iterator[str]:
    """Yield a text as lines, each of them indented, those after the first by `hanging`."""
    line = visible(" ".join(text.split()))
    if width is None:
        yield f"{indent}{line}"
        return
    yield from textwrap.wrap(
        line, width, initial_indent=indent, subsequent_indent=indent if hanging is None else hanging
    ) or [indent]


def rows(
    table: Sequence[Sequence[str]], width: int | None, *, right: Sequence[int] = (), spill: bool = True
) -> Iterator[str]:
    """Yield rows of cells below each other, columns in `right` at their right edge.

    Where the longest is wider than `width`, and cells may `spill`, each last cell stands below its row, wrapped.
    """
    if not table:
        return
    shown = [[visible(" ".join(cell.split())) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    fits = width is None or sum(widths) + 2 * (len(widths) - 1) <= width or not spill
    for row in shown:
        cells = [
            cell.rjust(widths[number]) if number in right else cell.ljust(widths[number])
            for number, cell in enumerate(row)
        ]
        if fits:
            yield "  ".join(cells).rstrip()
            continue
        yield from paragraph_of_cells(cells[:-1], width or 0)
        yield from paragraph(row[-1], width, indent="  ")


def paragraph_of_cells(cells: Sequence[str], width: int) -> Iterator[str]:
    """Yield cells on one line, or on as many as they need where that is too wide."""
    line = "  ".join(cells).rstrip()
    if len(line) <= width:
        yield line
        return
    yield from textwrap.wrap("  ".join(cell.strip() for cell in cells), width, subsequent_indent="  ")
