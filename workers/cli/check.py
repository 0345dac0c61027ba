"""`metermend check`: what Stripe would refuse, before the upload."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from workers.cli.engine_options import engine_options, knowledge, plan_options
from workers.cli.plan_view import faults_table, progress, show_files
from workers.remedies import PlanSummary, plan_file

_FOR_THE_DASHBOARD: Final = "too_large_for_dashboard"


@click.command()
@engine_options
@click.option("--dashboard", is_flag=True, help="The files go to the Dashboard: hold --strict to its 5 MB as well.")
def check(files: tuple[Path, ...], as_json: bool, strict: bool, dashboard: bool, **given: Any) -> None:
    """Show every record that Stripe would refuse and why, by row, and what is odd about the files.

    Reads only. With --strict, exits with 1 when anything is found.
    """
    known = knowledge(given)
    with progress() as on_part:
        summary = plan_file(
            files,
            catalog=known.catalog,
            rules=known.rules,
            now=known.now,
            options=plan_options(given),
            on_part=on_part,
        )
    if as_json:
        click.echo(json.dumps({**summary.tally.as_json(), "files": _files(summary)}))
    else:
        _show(summary)
    if strict and _has_findings(summary, dashboard=dashboard):
        sys.exit(1)


def _show(summary: PlanSummary) -> None:
    console = Console(highlight=False)
    for surveyed, tally in zip(summary.surveys, summary.tallies, strict=True):
        show_files(console, [surveyed])
        if tally.faults:
            console.print(faults_table(tally))
    refused = summary.tally.refused
    if refused:
        console.print(f"Stripe would refuse {refused:,} of {summary.tally.total:,} records.")
        console.print("`metermend repair` repairs what leaves no doubt.", style="dim")
    else:
        console.print(f"No fault found in {summary.tally.total:,} records.")


def _files(summary: PlanSummary) -> dict[str, Any]:
    return {
        str(surveyed.path): {
            "findings": [{"slug": finding.slug, "text": finding.text} for finding in surveyed.findings],
            "faults": [
                {"fault": slug, "records": found.records, "rows": list(found.rows)}
                for slug, found in tally.faults.items()
            ],
        }
        for surveyed, tally in zip(summary.surveys, summary.tallies, strict=True)
    }


def _has_findings(summary: PlanSummary, *, dashboard: bool) -> bool:
    slugs = {finding.slug for surveyed in summary.surveys for finding in surveyed.findings}
    return bool(summary.tally.faults) or bool(slugs - (set() if dashboard else {_FOR_THE_DASHBOARD}))
