"""docs/FAULTS.md, written from the latest run of each scenario, of each broken variant and of the pressure test."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from bench.faults.crash_points import CRASH_POINTS
from bench.faults.run import Run
from bench.faults.scenarios import SCENARIOS
from bench.faults.storm import STRIKES

RESULTS: Final = Path("bench/faults/results.json")
PAGE: Final = Path("docs/FAULTS.md")
LINE: Final = 116
PRODUCT: Final = ("webhooks", "workers", "fixtures", "bench")

HEAD: Final = """\
# What survives which fault

Written by `python -m bench.faults --write`; do not edit. Each row is one run: the service as real processes (Redis,
SQLite or PostgreSQL, gunicorn, two workers, clock) on the twin of Stripe, restarted by a supervisor when they end,
while the faults of the row happen. The sender's usage has eight kinds of faults, three of which no machine can
repair. Afterwards the books are compared record by record: what the sender meant (customer, meter, time, quantity),
what the twin bills, and what the ledger holds for a person or a later time.

- **lost**: meant, not billed, and not in the ledger either. **twice**: billed more than once. **wrong**: billed,
  but not as it was meant, or a bill that is not the sum of its records. **stuck**: events or cases that neither
  move by themselves nor were meant to end. Goal: 0 in all four, and `metermend prove` holds.
- **kept**: in the ledger, quarantined with a reason: the hopeless ones, and what nobody could prove harmless.
- **drain**: seconds from the last fault until nothing moved any more.

The seed fixes the usage and the dice, not the machine's timing: the same seed meets other moments in another run.
"""

CRASHES: Final = """
The full disk is a tmpfs of 16 MiB, filled up by a file of somebody else's.

The crash points are the transitions of the ledger, held from outside by a lock in PostgreSQL (`crash_points.py`).
Worker or web is killed -9 before the commit of the transition, and in a second pass after it:
{points}.

In the last row there are four workers, each event is delivered 1-5 times and out of order, and every few seconds
one of these is drawn by the dice, while usage comes in and for some minutes after:
{strikes}.
"""

BROKEN: Final = """
## Does the harness see anything?

Variants of the product that break its protocol (`bench/faults/broken.py`), in scenarios that have to catch them:

| variant | scenario | lost | twice | wrong | caught | seed | commit |
|---|---|---|---|---|---|---|---|
"""

PRESSURE: Final = """
## Pressure

| events in the queue | workers | drained in | events/s | worker memory before | at its peak | commit |
|---|---|---|---|---|---|---|
"""


COLUMNS: Final = [
    *("what happens", "records", "events", "billed", "kept"),
    *("lost", "twice", "wrong", "stuck", "drain", "seed", "commit"),
]


def note(run: Run, seed: int) -> None:
    """Keep a run in the results and write the page anew."""
    key = f"{run.name}+{run.broken}" if run.broken else run.name
    keep(key, {**run.as_json(), "seed": seed})


def keep(key: str, result: Mapping[str, Any]) -> None:
    """Keep one result under its key, with what it was made with, and write the page anew."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[key] = {**result, "commit": _commit(), "day": f"{datetime.now(UTC):%Y-%m-%d}", "machine": _machine()}
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    PAGE.write_text(page(results))


def page(results: Mapping[str, Any]) -> str:
    """Return the page for the results."""
    rows = [
        _line(COLUMNS),
        "|---" * len(COLUMNS) + "|",
        *(_row(scenario.what, results[name]) for name, scenario in SCENARIOS.items() if name in results),
    ]
    broken = [_broken_row(key, result) for key, result in results.items() if "+" in key]
    pressure = [_pressure_row(results["pressure"])] if "pressure" in results else []
    parts = [
        HEAD,
        "\n".join([_dates(results), "", *rows, ""]),
        CRASHES.format(points=_listed(CRASH_POINTS), strikes=_listed(STRIKES)),
        BROKEN + "\n".join(broken) + "\n",
        PRESSURE + "\n".join(pressure) + "\n" if pressure else "",
    ]
    return "\n".join(parts).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _row(what: str, result: Mapping[str, Any]) -> str:
    verdict = result["verdict"]
    if verdict is None:
        return f"| {what} | not played: {result['trouble']} ||||||||| {result['seed']} | {result['commit']} |"
    columns = ("records", "events", "billed", "with_person", "lost", "twice", "wrong", "stuck")
    figures = [f"{verdict[name]:,}" for name in columns]
    stuck = figures.pop() + ("" if verdict["proved"] else ", not proved")
    drained = f"{verdict['drain_seconds']:.0f}"
    return _line([what, *figures, stuck, drained, result["seed"], result["commit"]])


def _broken_row(key: str, result: Mapping[str, Any]) -> str:
    name, variant = key.split("+")
    verdict = result["verdict"] or {}
    figures = [verdict.get(column, "-") for column in ("lost", "twice", "wrong")]
    caught = "no" if verdict.get("clean", True) else "**yes**"
    return _line([f"`{variant}`", SCENARIOS[name].what, *figures, caught, result["seed"], result["commit"]])


def _pressure_row(result: Mapping[str, Any]) -> str:
    memory = [f"{result[name]} MiB" for name in ("mib_before", "mib_peak")]
    drained, speed = f"{result['seconds']:.0f} s", f"{result['events'] / result['seconds']:.0f}"
    return _line([f"{result['events']:,}", result["workers"], drained, speed, *memory, result["commit"]])


def _listed(names: Iterable[str]) -> str:
    return "\n".join(wrap(", ".join(names), width=LINE))


def _line(cells: list[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _dates(results: Mapping[str, Any]) -> str:
    days = sorted({result["day"] for result in results.values()})
    machines = sorted({result["machine"] for result in results.values()})
    return f"Runs of {', '.join(days)} on {'; '.join(machines)}."


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores (load {_about(load)})"


def _about(load: float) -> str:
    return next(words for bound, words in _LOADS if load < bound)


_LOADS: Final = ((3, "under 3"), (6, "3-6"), (12, "6-12"), (float("inf"), "over 12"))


def _commit() -> str:
    """Return the commit that was run, with a `+` where the product was changed since."""
    return "".join(_git_says())


def _git_says() -> Iterator[str]:
    head = ["git", "rev-parse", "--short=10", "HEAD"]
    yield subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    status = ["git", "status", "--porcelain", "--untracked-files=no", "--", *PRODUCT]
    changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    if any(not line.endswith(str(RESULTS)) for line in changed.splitlines()):
        yield "+"
