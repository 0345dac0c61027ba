"""`metermend repair`: corrected, deferred and quarantined records from any usage or failed-records file."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from workers.cli.options import engine_options, knowledge, plan_options, planned
from workers.cli.show import (
    outcomes_table,
    show_files,
    show_unchecked,
    show_unknown_quantities,
)
from workers.kernel import terminal
from workers.kernel.codes import Outcome
from workers.kernel.counting import counted
from workers.offline.repair_files import PlanSummary
from workers.offline.revisions import RefusedFor
from workers.records.files.stripe_formats import TEMPLATES

_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".gz", ".zst", ".xlsx", ".xlsm")


@click.command()
@engine_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results; default: ./NAME-repaired.")
@click.option(
    "--format", "output", type=click.Choice(list(TEMPLATES)), default="csv", help="Format of the corrected file."
)
@click.option("--new-identifiers", is_flag=True, help="Write the next revision's identifiers, not the sender's.")
@click.option(
    "--refused-for",
    type=click.Choice(["form", "data"]),
    help="Why Stripe refused: after data, what is repaired gets the next revision's identifier. "
    "Default: data where Stripe gave a code.",
)
def repair(
    files: tuple[Path, ...],
    out: Path | None,
    output: str,
    new_identifiers: bool,
    refused_for: RefusedFor | None,
    as_json: bool,
    strict: bool,
    **given: Any,
) -> None:
    """Repair what leaves no doubt, and put the rest aside with what is known of it.

    Writes corrected, quarantine.csv, deferred.csv, changes.csv, unreadable.csv and plan.json into a folder, which
    appears whole or not at all; a file without records is not written. With --strict, exits with 1 when anything is
    quarantined.
    """
    folder = out or _folder_of(files[0])
    known = knowledge(given)
    options = plan_options(given, output=output, new_identifiers=new_identifiers, refused_for=refused_for)
    summary = planned(files, known, options, folder)
    if as_json:
        click.echo(json.dumps({**summary.as_json(), "not_checked": known.unchecked}))
    else:
        decided = new_identifiers or refused_for is not None
        _show(summary, folder, known.unchecked, identifiers_are_decided=decided)
    click.echo(f"Written into {folder}", err=as_json)
    if strict and summary.outcomes.records.get(Outcome.QUARANTINED):
        sys.exit(1)


def _folder_of(file: Path) -> Path:
    """Return the folder, in the current one, for what becomes of a file: `usage-repaired` for `a/usage.csv.gz`."""
    name = file.name
    while name.lower().endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    return Path(f"{name or file.name}-repaired")


def _show(summary: PlanSummary, folder: Path, unchecked: Sequence[str], *, identifiers_are_decided: bool) -> None:
    console = terminal.console(highlight=False, emoji=False)
    show_files(console, summary.surveys)
    console.print(outcomes_table(summary.outcomes))
    show_unknown_quantities(console, summary.outcomes)
    show_unchecked(console, unchecked)
    for said in _done_unasked(summary, identifiers_are_decided=identifiers_are_decided):
        console.print(said)
    for kind, files in summary.written.items():
        for file in files:
            what = counted(file.records, "change" if kind == "changes" else "record")
            console.print(f"{folder / file.path.name}: {what}", markup=False, soft_wrap=True)


def _done_unasked(summary: PlanSummary, *, identifiers_are_decided: bool) -> Iterator[str]:
    """Yield what was done that the person who sends the files has to know."""
    revised, kept, neutralised = summary.outcomes.revised, summary.refused_for_form, summary.neutralised
    if revised:
        whose = "1 record was refused for its data: it has" if revised == 1 else (
            f"{revised:,} records were refused for their data: they have")  # fmt: skip
        yield f"{whose} the next revision's identifier, as Stripe may hold the old one."
    if kept and not identifiers_are_decided:
        without = "1 repaired record has" if kept == 1 else f"{kept:,} repaired records have"
        yield f"{without} no code: refused for the form, with the old identifier; else say --refused-for data."
    if neutralised:
        cells = "1 cell that would run" if neutralised == 1 else f"{neutralised:,} cells that would run"
        yield f"{cells} in a spreadsheet got a leading apostrophe; the corrected file has none."
