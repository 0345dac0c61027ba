"""How files and a plan are shown to a person: faults by row, narrow tables, notes, a progress bar on a terminal.

What a fault means, `remedies.codes.reasons` knows; here is added the first record that shows it.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from workers.kernel import terminal
from workers.kernel.codes import Outcome
from workers.kernel.counting import counted
from workers.offline.differences import Difference
from workers.offline.repair_files import OnPart
from workers.offline.summary import OutcomeCounts
from workers.offline.survey import Survey
from workers.records import quantities
from workers.records.catalog import VALUE_TEXT, Catalog
from workers.records.files.json_record import PAYLOAD
from workers.records.files.layout import Unreadable
from workers.records.schema import EVENT_NAME, IDENTIFIER, RAW, TIMESTAMP
from workers.remedies.codes import REMEDIES, reasons

FORM_SHOWN_IN: Final = {
    **dict.fromkeys(map(str, Unreadable), RAW),
    "event_name_too_long": EVENT_NAME,
    "identifier_too_long": IDENTIFIER,
    "identifier_repeated": IDENTIFIER,
    "payload_as_text": IDENTIFIER,
    "payload_not_an_object": PAYLOAD,
    "timestamp_malformed": TIMESTAMP,
    "value_of_other_notation": VALUE_TEXT,
}
"""Fault of form -> the column in which it shows; the others show in none, since something is absent."""
RANGES_SHOWN: Final = 6
EXAMPLE_LENGTH: Final = 60
_OPEN_HEADER: Final = frozenset({"header_missing", "header_ambiguous"})
"""Findings that one of Stripe's columns is not there by its name."""


@dataclass(frozen=True)
class FaultGroup:
    """The records of a file with one fault: the first of their rows, and what stands in the very first."""

    fault: str
    meaning: str
    records: int
    rows: tuple[int, ...]
    example: str | None


def fault_groups(surveyed: Survey, outcomes: OutcomeCounts, catalog: Catalog) -> list[FaultGroup]:
    """Return the faults of a surveyed file, the most frequent first. Reads the parts that hold an example again."""
    examples = dict(_examples(surveyed, outcomes, catalog))
    ordered = sorted(outcomes.faults.items(), key=lambda item: -item[1].records)
    known = reasons()
    return [
        FaultGroup(slug, known[slug].clauses[0], found.records, found.rows, examples[slug])
        for slug, found in ordered
    ]


def _examples(surveyed: Survey, outcomes: OutcomeCounts, catalog: Catalog) -> Iterator[tuple[str, str | None]]:
    """Yield each fault with what stands in its column in the first record that has it."""
    for part in surveyed.facts.parts:
        rows = {slug: found.rows[0] - part.first_row for slug, found in outcomes.faults.items()}
        here = {slug: row for slug, row in rows.items() if 0 <= row < part.rows}
        if here:
            frame = catalog.resolve(surveyed.facts.file.read(part, surveyed.facts.columns))
            for slug, row in here.items():
                column = REMEDIES[slug].shown_in if slug in REMEDIES else FORM_SHOWN_IN.get(slug)
                yield slug, None if column is None else frame.item(row, column)


@contextmanager
def progress() -> Iterator[OnPart]:
    """Yield what to call after each part; draws a bar on stderr, on a terminal only."""
    console = terminal.console(stderr=True)
    columns = (TextColumn("records"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("records", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def show_files(console: Console, surveys: Sequence[Survey]) -> None:
    """Print what each file is, and what is odd about it."""
    for surveyed in surveys:
        layout = surveyed.facts.file.layout
        console.print(layout.name, style="bold", end="", markup=False)
        console.print(f": {counted(surveyed.records, 'record')}, {layout.format.upper()}")
        for finding in surveyed.findings:
            console.print(f"  - {finding.text}", markup=False)
        for difference in surveyed.differences.shown:
            console.print(f"    {_told_apart(difference, layout.name)}", markup=False)
        left = surveyed.differences.rows.len() - len(surveyed.differences.shown)
        if left > 0:
            console.print(f"    and {left:,} more")
        if not _OPEN_HEADER.isdisjoint(finding.slug for finding in surveyed.findings):
            console.print("`--column THEIRS=OURS` says which column it is.", style="dim")
        column = surveyed.unproven.message or surveyed.unproven.code
        if column:  # a code declared as a text would tell no refusal for data
            option = shlex.join(["--error-column" if surveyed.unproven.message else "--code-column", column])
            said = f"{column!r} is taken for your own column. If it holds Stripe's words: `{option}`."
            console.print(said, style="dim", markup=False)


def show_unchecked(console: Console, unchecked: Iterable[str]) -> None:
    """Print what was not checked, so that no silence is taken for soundness."""
    for text in unchecked:
        console.print(f"Not checked: {text}.", style="dim")


def _told_apart(difference: Difference, name: str) -> str:
    first = f"row {difference.first_row:,}"
    of_first = first if difference.first_file == name else f"{first} of {_named(difference.first_file)}"
    texts = [
        f"{_named(column)} {_written(here)}, not {_written(before)}"
        for column, (before, here) in difference.columns.items()
    ]
    return (
        f"{_shortened(difference.identifier)}: row {difference.row:,} differs from {of_first}: {'; '.join(texts)}"
    )


def _named(name: str) -> str:
    """Return a column's or file's name; quoted where it could write elsewhere on the terminal."""
    return name if name.isprintable() else _shortened(name)


def _written(text: str | None) -> str:
    return "nothing" if text is None else _shortened(text)


def show_faults(console: Console, groups: Iterable[FaultGroup]) -> None:
    """Print each fault with its records and the first of their rows, what it means, and one example."""
    for group in groups:
        rows = f"{'row' if group.records == 1 else 'rows'} {row_ranges(group.rows, group.records)}"
        example = "" if group.example is None else f", e.g. row {group.rows[0]}: {_shortened(group.example)}"
        console.print(f"{group.fault}: {counted(group.records, 'record')}, {rows}", markup=False)
        console.print(f"  {group.meaning}{example}", markup=False)


def outcomes_table(outcomes: OutcomeCounts) -> Table:
    """Return records and quantity by outcome, and records by code and reason."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("records", justify="right")
    table.add_column("quantity", justify="right")
    for outcome in Outcome:
        table.add_row(outcome, f"{outcomes.records.get(outcome, 0):,}", amount_text(outcomes.amount(outcome)))
        for label, count in _breakdown(outcomes, outcome):
            table.add_row(Text(label, "dim"), Text(f"{count:,}", "dim"), "")
    return table


def amount_text(amount: Decimal | None) -> str:
    """Return a quantity as it is shown: what is not known is not 0."""
    return "not known" if amount is None else quantities.to_text(amount)


def show_unknown_quantities(console: Console, outcomes: OutcomeCounts) -> None:
    """Print of which records the quantity is not known, so that no sum is taken for more than it is."""
    for outcome in Outcome:
        unknown = outcomes.unknown.get(outcome, 0)
        if unknown:
            records = outcomes.records.get(outcome, 0)
            without = f"{counted(unknown, 'record')} with no readable quantity"
            rest = f", and {amount_text(outcomes.amount(outcome))} of the others" if records > unknown else ""
            console.print(f"{outcome}: {without}{rest}")


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


def _breakdown(outcomes: OutcomeCounts, outcome: str) -> Iterator[tuple[str, int]]:
    """Yield the outcome's codes, each followed by its reasons where they say more, with their records."""
    for code, counts in sorted(outcomes.by_code.items()):
        if outcome in counts:
            yield f"  {code}", counts[outcome]
        for (of_code, of_outcome, reason), records in sorted(outcomes.reasons.items()):
            if (of_code, of_outcome) == (code, outcome) and reason != code:
                yield f"    {reason}", records


def _shortened(text: str) -> str:
    return repr(text if len(text) <= EXAMPLE_LENGTH else text[:EXAMPLE_LENGTH] + "…")
