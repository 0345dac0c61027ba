"""`metermend incidents` lists what people were told of as one: cases of one cause that came close together."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from workers.cli.open_ledger import open_stores
from workers.cli.paragraphs import paragraph, terminal_width
from workers.kernel.clock import to_text
from workers.kernel.ledger.incidents import Incident

COLUMNS = ("incident", "cases", "refused", "opened", "state")


@click.command()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Incidents at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def incidents(limit: int, *, as_json: bool) -> None:
    """List incidents, those of the newest cases first; `metermend cases --incident` lists the cases of one."""
    ledger, _ = open_stores()
    found = ledger.incidents.recent(limit)
    titles = ledger.incidents.titles(found)
    ledger.close()
    click.echo(
        json.dumps(list(map(_as_json, found)), indent=2)
        if as_json
        else "\n".join(_lines(found, titles, terminal_width()))
    )


def _as_json(incident: Incident) -> dict[str, Any]:
    return {
        "incident": incident.id,
        "cause": incident.cause,
        "account": incident.account,
        "livemode": incident.livemode,
        "cases": incident.cases,
        "refused": incident.records,
        "opened_at": to_text(incident.opened_at),
        "last_at": to_text(incident.last_at),
        "over_at": to_text(incident.over_at) if incident.over_at else None,
    }


def _lines(found: Sequence[Incident], titles: Mapping[str, str], width: int | None) -> Iterator[str]:
    """Yield a line for each incident, and below it what happened."""
    if not found:
        yield "no incidents"
        return
    rows = [COLUMNS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    causes = ["", *(titles.get(incident.id, incident.cause) for incident in found)]
    for row, cause in zip(rows, causes, strict=True):
        yield "  ".join(cell.ljust(widest) for cell, widest in zip(row, widths, strict=True)).rstrip()
        if cause:
            yield from paragraph(cause, width, indent="  ")


def _row(incident: Incident) -> tuple[str, ...]:
    return (
        incident.id,
        f"{incident.cases:,}",
        f"{incident.records:,}",
        f"{incident.opened_at:%Y-%m-%d %H:%M}",
        "over" if incident.over_at else "open",
    )
