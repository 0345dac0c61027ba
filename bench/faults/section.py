"""The section `faults` of `python -m bench`."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.faults.run import Run, play
from bench.faults.scenarios import SCENARIOS

QUICK: Final = ("small", "kill-at-random", "duplicates-reordered", "storm")
SEED: Final = 1
COLUMNS: Final = ("records", "events", "lost", "twice", "wrong", "stuck", "drain_seconds")


def run(*, full: bool = False, rounds: int = 1, quiet: bool = False) -> dict[str, Any]:
    """Play some scenarios, or every one if `full`, once each, and return their verdicts; prints a table."""
    del rounds  # a seeded run is not a measurement to take the median of
    runs = [play(name, SEED) for name in (SCENARIOS if full else QUICK)]
    if not quiet:
        Console().print(_table(runs))
    return {run.name: run.as_json() for run in runs}


def _table(runs: list[Run]) -> Table:
    table = Table(title="faults")
    for heading in ("scenario", *COLUMNS):
        table.add_column(heading.replace("_", " "), justify="left" if heading == "scenario" else "right")
    for run in runs:
        verdict = run.verdict.as_json() if run.verdict else {}
        table.add_row(run.name, *(str(verdict.get(column, run.trouble)) for column in COLUMNS))
    return table
