"""`metermend check`: what Stripe would refuse, before the upload."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from workers.cli.engine_options import engine_options, knowledge, plan_options
from workers.cli.fault_view import FaultGroup, fault_groups
from workers.cli.plan_view import counted, progress, show_faults, show_files
from workers.remedies import PlanSummary, plan_file
from workers.remedies.outcome_counts import OutcomeCounts

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
    groups = [fault_groups(*of, known.catalog) for of in zip(summary.surveys, summary.by_file, strict=True)]
    if as_json:
        click.echo(json.dumps({**summary.outcomes.as_json(), "files": _files(summary, groups)}))
    else:
        _show(summary, groups)
    if strict and _has_findings(summary, dashboard=dashboard):
        sys.exit(1)


def _show(summary: PlanSummary, groups: Sequence[Sequence[FaultGroup]]) -> None:
    console = Console(highlight=False, emoji=False)
    for surveyed, of_file in zip(summary.surveys, groups, strict=True):
        show_files(console, [surveyed])
        show_faults(console, of_file)
    console.print(_verdict(summary.outcomes))
    if summary.outcomes.refused:
        console.print("`metermend repair` repairs what leaves no doubt.", style="dim")


def _verdict(outcomes: OutcomeCounts) -> str:
    of_all = counted(outcomes.total, "record")
    acts = {
        f"refuse {outcomes.refused:,}": outcomes.refused,
        f"skip {outcomes.skipped:,} as repeated": outcomes.skipped,
    }
    said = [act for act, records in acts.items() if records]
    return f"Of {of_all} Stripe would {' and '.join(said)}." if said else f"No fault found in {of_all}."


def _files(summary: PlanSummary, groups: Sequence[Sequence[FaultGroup]]) -> dict[str, Any]:
    return {
        str(surveyed.path): {
            "findings": [{"slug": finding.slug, "text": finding.text} for finding in surveyed.findings],
            "faults": [
                {
                    "fault": group.slug,
                    "meaning": group.meaning,
                    "records": group.records,
                    "rows": list(group.rows),
                    "example": group.example,
                }
                for group in of_file
            ],
        }
        for surveyed, of_file in zip(summary.surveys, groups, strict=True)
    }


def _has_findings(summary: PlanSummary, *, dashboard: bool) -> bool:
    slugs = {finding.slug for surveyed in summary.surveys for finding in surveyed.findings}
    return bool(summary.outcomes.faults) or bool(slugs - (set() if dashboard else {_FOR_THE_DASHBOARD}))
