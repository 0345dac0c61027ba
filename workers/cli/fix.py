"""`metermend fix` and `set`: waiting records as a person has edited them, by spreadsheet or cell by cell."""

from pathlib import Path
from typing import Any

import click

from workers.cli.decide import decide, deciding
from workers.cli.open_ledger import open_context
from workers.pipeline.context import Context
from workers.pipeline.desk.edited_csv import Edits, edit_of, read_edits
from workers.pipeline.desk.record_orders import keep_edits
from workers.pipeline.desk.waiting import require_case


@click.command()
@click.argument("case")
@click.option(
    "--file", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The edited CSV."
)
@deciding
def fix(case: str, path: Path, **options: Any) -> None:
    """Take over what was edited in the CSV that `metermend quarantine CASE` has written.

    timestamp, event_name and payload columns may change, and an identifier where there was none. Rows are known by
    the column `record`: they may be sorted or left out. All is checked again before anything is sent.
    """
    made = open_context()
    require_case(made, case)
    _fix(made, case, read_edits(made, case, path), options)


@click.command("set")
@click.argument("case")
@click.argument("record")
@click.argument("field")
@click.argument("value")
@deciding
def set_cell(case: str, record: str, field: str, value: str, **options: Any) -> None:
    """Put VALUE into the FIELD of one waiting RECORD of CASE, such as `r17`: `metermend quarantine` shows them."""
    made = open_context()
    require_case(made, case)
    _fix(made, case, edit_of(made, case, record, field, value), options)


def _fix(made: Context, case: str, edits: Edits, options: dict[str, Any]) -> None:
    decide(made, "fix", case, keep_edits(made, case, edits), options)
