"""`metermend repair`: corrected, deferred and quarantined records from any usage or failed-records file."""

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from workers.cli.engine_options import engine_options, knowledge, plan_options
from workers.cli.plan_view import outcomes_table, progress, show_files
from workers.records.template import TEMPLATES
from workers.remedies import PlanSummary, plan_file


@click.command()
@engine_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@click.option(
    "--format", "output", type=click.Choice(list(TEMPLATES)), default="csv", help="Format of the corrected file."
)
@click.option("--new-identifiers", is_flag=True, help="Write the next revision's identifiers, not the sender's.")
def repair(
    files: tuple[Path, ...],
    out: Path,
    output: str,
    new_identifiers: bool,
    as_json: bool,
    strict: bool,
    **given: Any,
) -> None:
    """Repair what leaves no doubt, and put the rest aside with what is known of it.

    Writes corrected, quarantine.csv, deferred.csv, changes.csv and plan.json into --out, which appears whole or not
    at all; a file without records is not written. With --strict, exits with 1 when anything is quarantined.
    """
    known = knowledge(given)
    options = plan_options(given, output=output, new_identifiers=new_identifiers)
    with progress() as on_part:
        summary = plan_file(
            files,
            catalog=known.catalog,
            rules=known.rules,
            now=known.now,
            out=out,
            options=options,
            on_part=on_part,
        )
    if as_json:
        click.echo(json.dumps(summary.as_json()))
    else:
        _show(summary, out)
    if strict and summary.tally.needs_person:
        sys.exit(1)


def _show(summary: PlanSummary, out: Path) -> None:
    console = Console(highlight=False)
    show_files(console, summary.surveys)
    console.print(outcomes_table(summary.tally))
    for files in summary.written.values():
        for file in files:
            console.print(f"{out / file.path.name}: {file.records:,} records", markup=False, soft_wrap=True)
