"""The repair engine against polars reading and writing the same file with no repair.

Goals: CSV and JSON Lines at most 3 times polars' time, a JSON array at most twice the JSON Lines figure, at most
768 MiB at 10 M records and 1.5 times the peak of 1 M, at least 500 000 records a second (50 times the 10 000 events
a second of Stripe docs, "Record usage in bulk"). The goals are by the clock on an idle machine; the ratio of
processor time beside it holds on a busy one, too.
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.measure import Measured, measured, middle

MIXES: Final = ((1_000_000, 10), (1_000_000, 1))
"""Records of a file, and per cent of them that are faulty."""
LARGE: Final = ((10_000_000, 10), (10_000_000, 1))
SHAPES: Final = ("csv", "jsonl", "json")
TASKS: Final = ("polars", "reader+writer", "engine")
BASELINE: Final = "polars"


def run(*, full: bool = False, rounds: int = 3, quiet: bool = False) -> dict[str, Any]:
    """Measure every shape and mix and return the figures by mix and shape; prints tables unless `quiet`."""
    mixes = [*MIXES, *LARGE] if full else MIXES
    return {_title(*mix): _run_mix(*mix, rounds, quiet=quiet) for mix in mixes}


def _title(size: int, faulty: int) -> str:
    return f"{size:,} records, {faulty} % faulty"


def _run_mix(size: int, faulty: int, rounds: int, *, quiet: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="metermend-bench-") as folder:
        subprocess.run([sys.executable, "-m", "bench.generate", folder, str(size), str(faulty)], check=True)
        figures = {shape: _figures(folder, size, shape, rounds) for shape in SHAPES}
    figures["json"]["engine"]["times_jsonl"] = round(
        figures["json"]["engine"]["seconds"] / figures["jsonl"]["engine"]["seconds"], 2
    )
    if not quiet:
        Console(width=100).print(_table(_title(size, faulty), figures))
    return figures


def _figures(folder: str, size: int, shape: str, rounds: int) -> dict[str, dict[str, float]]:
    """Run the tasks in turn, round by round, so that a slow minute of the machine slows all of them."""
    tasks = [task for task in TASKS if shape != "json" or task != BASELINE]
    runs: defaultdict[str, list[Measured]] = defaultdict(list)
    for _ in range(rounds):
        for task in tasks:
            runs[task].append(measured("bench.tasks", [task, folder, str(size), shape]))
    medians = {task: middle(runs[task]) for task in tasks}
    return {task: _figure(medians[task], medians.get(BASELINE), size) for task in tasks}


def _figure(run: Measured, baseline: Measured | None, size: int) -> dict[str, float]:
    figure = {
        "seconds": round(run.seconds, 2),
        "cpu_seconds": round(run.cpu_seconds, 2),
        "records_per_second_per_core": round(size / run.seconds / (os.cpu_count() or 1)),
        "peak_mib": round(run.peak_mib),
    }
    if baseline is None:
        return figure
    return figure | {
        "times_polars": round(run.seconds / baseline.seconds, 2),
        "cpu_times_polars": round(run.cpu_seconds / baseline.cpu_seconds, 2),
    }


def _table(title: str, figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    table = Table(title=f"{title}, {os.cpu_count()} cores")
    for heading in ("file", "task", "seconds", "ratio", "CPU s", "CPU ratio", "records/s/core", "peak MiB"):
        table.add_column(heading, justify="left" if heading in ("file", "task") else "right")
    for shape, tasks in figures.items():
        for task, figure in tasks.items():
            ratio = f"{figure['times_polars']:.2f} x polars" if "times_polars" in figure else ""
            ratio = f"{figure['times_jsonl']:.2f} x jsonl" if "times_jsonl" in figure else ratio
            speed = f"{figure['records_per_second_per_core']:,.0f}"
            cpu_ratio = f"{figure['cpu_times_polars']:.2f}" if "cpu_times_polars" in figure else ""
            seconds, cpu = f"{figure['seconds']:.2f}", f"{figure['cpu_seconds']:.2f}"
            table.add_row(shape, task, seconds, ratio, cpu, cpu_ratio, speed, f"{figure['peak_mib']:.0f}")
    return table
