"""`metermend cases` lists the cases, for a terminal or a script; `metermend export` packs one for an auditor."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from workers.cli.open_ledger import open_stores
from workers.kernel.clock import to_text
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.unconfirmed import unconfirmed
from workers.pipeline.audit.export import export as export_case

COLUMNS = ("case", "state", "failed", "in flight", "quarantined", "summary")


@click.command()
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(s) for s in CaseState]), help="May be repeated."
)
@click.option("--incident", metavar="INCIDENT", help="Of one incident only: `metermend incidents` lists them.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Cases at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def cases(states: tuple[str, ...], incident: str | None, limit: int, *, as_json: bool) -> None:
    """List cases, the most recently changed first."""
    ledger, _ = open_stores()
    found = ledger.queries.cases(states=[CaseState(state) for state in states], limit=limit, incident=incident)
    counts = ledger.queries.case_counts()
    of_incident = len(ledger.incidents.case_ids(incident)) if incident else None
    sent = (case.id for case in found if case.balance[Bucket.SUBMITTED].records)
    overdue = {case_id: unconfirmed(ledger.queries.entries(case_id)) for case_id in sent}
    ledger.close()
    told = [_as_json(case, overdue.get(case.id, 0)) for case in found]
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(_lines(found, _width(), overdue)))
    there = of_incident if of_incident is not None else sum(counts.get(state, 0) for state in states or counts)
    if len(found) == limit and there > len(found):
        click.echo(f"{there - len(found):,} more: --limit {there}", err=True)


def _as_json(case: Case, overdue: int = 0) -> dict[str, Any]:
    return {
        "case": case.id,
        "state": case.state,
        "failed": case.balance.failed.records,
        "in_flight": case.balance.in_flight.records,
        "unconfirmed": overdue,
        "quarantined": case.balance[Bucket.QUARANTINED].records,
        "summary": case.failure.summary,
        "trouble": case.trouble,
        "opened_at": to_text(case.opened_at),
        "changed_at": to_text(case.changed_at),
    }


def _width() -> int | None:
    """Return the columns of the terminal; null where a program reads, which wants one line for each case."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _lines(found: Sequence[Case], width: int | None, overdue: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each case; where they are wider than `width`, each summary stands below its case."""
    if not found:
        yield "no cases"
        return
    rows = [COLUMNS, *(_row(case, overdue.get(case.id, 0)) for case in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    longest = sum(widths) + 2 * len(widths) + max(len(row[-1]) for row in rows)
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        counts = [cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:], strict=True)]
        if width is None or longest <= width:
            yield "  ".join([*names, *counts, row[-1]])
            continue
        yield "  ".join([*names, *counts]).rstrip()
        yield from textwrap.wrap(row[-1], width, initial_indent="  ", subsequent_indent="  ")


def _row(case: Case, overdue: int) -> tuple[str, ...]:
    told = _as_json(case)
    counts = (f"{told[name]:,}" for name in ("failed", "in_flight", "quarantined"))
    stuck = case.trouble is not None and case.due_at is None
    summary = f"{case.failure.summary} (STOPPED: {case.trouble})" if stuck else case.failure.summary
    unshown = f" ({overdue:,} unconfirmed)" if overdue else ""
    return (case.id, case.state, *counts, f"{summary}{unshown}")


@click.command()
@click.argument("case")
@click.option("-o", "--out", "path", type=click.Path(dir_okay=False, path_type=Path), help="Default: CASE.tar.gz")
def export(case: str, path: Path | None) -> None:
    """Write everything about CASE into one tar.gz: its journal, its events, its submissions and all its files.

    Records that wait for a person are in it as quarantined.csv and deferred.csv, beside their Parquet.
    """
    ledger, archive = open_stores()
    into = path or Path(f"{case}.tar.gz")
    export_case(ledger, archive, case, into)
    click.echo(f"{into}: {into.stat().st_size:,} bytes")
    ledger.close()
