"""`metermend case show`: one case, as the console shows it: what happened, what to do, and how it came to this."""

import json

import click

from workers.cli.case_json import case_json
from workers.cli.case_text import paragraphs_of
from workers.cli.open_ledger import open_stores
from workers.cli.paragraphs import terminal_width
from workers.kernel.clock import utc_now
from workers.pipeline.context import Stores
from workers.pipeline.view.case_view import view_of


@click.group()
def case() -> None:
    """Look into one case."""


@case.command()
@click.argument("case_id", metavar="CASE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: all of it, quantities exact.")
def show(case_id: str, *, as_json: bool) -> None:
    """Show CASE: what happened, by when it is lost, samples, before and after, what was done, and what to do."""
    ledger, archive = open_stores()
    now = utc_now()
    view = view_of(Stores(ledger, archive), case_id, now)
    ledger.close()
    if as_json:
        click.echo(json.dumps(case_json(view), indent=2))
        return
    for number, lines in enumerate(paragraphs_of(view, terminal_width(), now)):
        click.echo(("\n" if number else "") + "\n".join(lines))
