"""How a plan is shown to a person: narrow tables, notes, and a progress bar where there is a terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from workers.kernel.codes import Outcome
from workers.records import quantities
from workers.remedies.plan import OnPart
from workers.remedies.survey import Survey
from workers.remedies.tally import Tally

RANGES_SHOWN: Final = 6


@contextmanager
def progress() -> Iterator[OnPart]:
    """Yield what to call after each part; draws a bar on stderr, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("records"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("records", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def show_files(console: Console, surveys: Sequence[Survey]) -> None:
    """Print what each file is, and what is odd about it."""
    for surveyed in surveys:
        layout = surveyed.file.layout
        console.print(f"[bold]{layout.name}[/]: {surveyed.facts.records:,} records, {layout.format.upper()}")
        for finding in surveyed.findings:
            console.print(f"  - {finding.text}", markup=False)


def faults_table(tally: Tally) -> Table:
    """Return the faults with their number of records and the first of their rows."""
    table = Table(box=None, pad_edge=False)
    table.add_column("fault", overflow="fold")
    table.add_column("records", justify="right")
    table.add_column("rows", overflow="fold")
    for slug, found in sorted(tally.faults.items(), key=lambda item: -item[1].records):
        table.add_row(slug, f"{found.records:,}", row_ranges(found.rows, found.records))
    return table


def outcomes_table(tally: Tally) -> Table:
    """Return records and quantity by outcome, and records by code."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("records", justify="right")
    table.add_column("quantity", justify="right")
    for outcome in Outcome:
        amount = quantities.to_text(tally.quantity.get(outcome, Decimal(0)))
        table.add_row(outcome, f"{tally.records.get(outcome, 0):,}", amount)
        for code, count in _codes(tally.by_code, outcome):
            table.add_row(f"  [dim]{code}[/]", f"[dim]{count:,}[/]", "")
    return table


def row_ranges(rows: Sequence[int], records: int) -> str:
    """Write row numbers as ranges, the first few of them: `3-5, 9, 12 and 40 more`."""
    ranges = list(_ranges(rows))
    shown = ranges[:RANGES_SHOWN]
    text = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in shown)
    left = records - sum(last - first + 1 for first, last in shown)
    return f"{text} and {left:,} more" if left else text


def _ranges(rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    for _, run in groupby(enumerate(rows), key=lambda place: place[1] - place[0]):
        numbers = [row for _, row in run]
        yield numbers[0], numbers[-1]


def _codes(by_code: Mapping[str, Mapping[str, int]], outcome: str) -> Iterator[tuple[str, int]]:
    return ((code, counts[outcome]) for code, counts in sorted(by_code.items()) if counts.get(outcome))
