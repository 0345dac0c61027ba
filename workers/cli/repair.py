"""`metermend repair`: corrected, deferred and quarantined records from any usage or failed-records file."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from workers.cli.engine_options import engine_options, knowledge, plan_options
from workers.cli.plan_view import counted, outcomes_table, progress, show_files, show_unknown_quantities
from workers.records.template import TEMPLATES
from workers.remedies import PlanSummary, plan_file

_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".gz", ".zst", ".xlsx", ".xlsm")


@click.command()
@engine_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results; default: ./NAME-repaired.")
@click.option(
    "--format", "output", type=click.Choice(list(TEMPLATES)), default="csv", help="Format of the corrected file."
)
@click.option("--new-identifiers", is_flag=True, help="Write the next revision's identifiers, not the sender's.")
def repair(
    files: tuple[Path, ...],
    out: Path | None,
    output: str,
    new_identifiers: bool,
    as_json: bool,
    strict: bool,
    **given: Any,
) -> None:
    """Repair what leaves no doubt, and put the rest aside with what is known of it.

    Writes corrected, quarantine.csv, deferred.csv, changes.csv and plan.json into a folder, which appears whole or
    not at all; a file without records is not written. With --strict, exits with 1 when anything is quarantined.
    """
    folder = out or _folder_of(files[0])
    known = knowledge(given)
    options = plan_options(given, output=output, new_identifiers=new_identifiers)
    with progress() as on_part:
        summary = plan_file(
            files,
            catalog=known.catalog,
            rules=known.rules,
            now=known.now,
            out=folder,
            options=options,
            on_part=on_part,
        )
    if as_json:
        click.echo(json.dumps(summary.as_json()))
    else:
        _show(summary, folder)
    click.echo(f"Written into {folder}", err=as_json)
    if strict and summary.outcomes.needs_person:
        sys.exit(1)


def _folder_of(file: Path) -> Path:
    """Return the folder, in the current one, for what becomes of a file: `usage-repaired` for `a/usage.csv.gz`."""
    name = file.name
    while name.lower().endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    return Path(f"{name or file.name}-repaired")


def _show(summary: PlanSummary, folder: Path) -> None:
    console = Console(highlight=False, emoji=False)
    show_files(console, summary.surveys)
    console.print(outcomes_table(summary.outcomes))
    show_unknown_quantities(console, summary.outcomes)
    for kind, files in summary.written.items():
        for file in files:
            what = counted(file.records, "change" if kind == "changes" else "record")
            console.print(f"{folder / file.path.name}: {what}", markup=False, soft_wrap=True)
