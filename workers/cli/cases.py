"""`metermend cases` lists the cases, for a terminal or a script; `metermend export` packs one for an auditor."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from workers.cli.case_json import by_meter_json, money_json
from workers.cli.moments import moment
from workers.cli.open_ledger import open_stores
from workers.cli.paragraphs import rows, terminal_width
from workers.kernel.case_title import title_of
from workers.kernel.clock import to_text, utc_now
from workers.kernel.ledger.appraisal import at_risk
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.case_facts import MOST_NAMES, SETTLED, meters_of, open_quantities
from workers.kernel.ledger.case_list import CaseFilter, CaseOrder
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.unconfirmed import unconfirmed
from workers.kernel.money import written
from workers.kernel.rounding import rounded
from workers.pipeline.audit.export import export as export_case

COLUMNS = ("case", "state", "open", "waiting", "at risk", "lost by", "what")
_METERS_SHOWN = 3


@click.command()
@click.option(
    "--state", "states", multiple=True, type=click.Choice([str(s) for s in CaseState]), help="May be repeated."
)
@click.option("--code", help="Of one of Stripe's codes.")
@click.option("--meter", metavar="NAME", help="With records of one event name, or of a meter's id.")
@click.option("--customer", metavar="ID", help="With records of one customer, as sent or as mended.")
@click.option("--file", "file", metavar="NAME", help="With rows of one usage file.")
@click.option("--older-than", metavar="SPAN", help="Opened before: 30min, 36h, 3d, or a time.")
@click.option("--lost-within", metavar="SPAN", help="Whose deadline is at most so far off: 36h, 3d; or a time.")
@click.option("--text", metavar="TEXT", help="Part of the id, the code, the meter, the trouble or what failed.")
@click.option("--incident", metavar="INCIDENT", help="Of one incident only: `metermend incidents` lists them.")
@click.option(
    "--sort",
    type=click.Choice([str(order) for order in CaseOrder]),
    default=str(CaseOrder.RISK),
    show_default=True,
    help="risk: money by time left, as cases are worked on; quantity: the largest open one of any meter; "
    "age, deadline: the nearest to its end first.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Cases at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list; quantities are exact there.")
def cases(limit: int, sort: str, *, as_json: bool, **asked: Any) -> None:
    """List cases, by money and time left; `metermend case show CASE` shows one."""
    ledger, _ = open_stores()
    now = utc_now()
    wanted = _filter(asked, now)
    found = ledger.case_list.find(wanted, CaseOrder(sort), limit)
    there = ledger.case_list.count(wanted) if len(found) == limit else len(found)
    not_all_named = ledger.case_list.not_all_named(wanted)
    sent = (case.id for case in found if case.balance[Bucket.SUBMITTED].records)
    overdue = {case_id: unconfirmed(ledger.queries.entries(case_id)) for case_id in sent}
    ledger.close()
    if as_json:
        click.echo(json.dumps([_as_json(case, now, overdue.get(case.id, 0)) for case in found], indent=2))
    else:
        click.echo("\n".join(_lines(found, terminal_width(), now, overdue)))
    if there > len(found):
        click.echo(f"{there - len(found):,} more: --limit {there}", err=True)
    if not_all_named:
        said = f"{not_all_named:,} cases have more names than are searched ({MOST_NAMES:,} of a kind)"
        click.echo(f"{said}: a name that is missing here may be in one of them", err=True)


def _filter(asked: Mapping[str, Any], now: datetime) -> CaseFilter:
    older, lost = asked["older_than"], asked["lost_within"]
    return CaseFilter(
        states=[CaseState(state) for state in asked["states"]],
        opened_before=moment(older, now, where="--older-than") if older else None,
        lost_before=moment(lost, now, where="--lost-within", ahead=True) if lost else None,
        **{name: asked[name] for name in ("code", "meter", "customer", "file", "text", "incident")},
    )


def _as_json(case: Case, now: datetime, overdue: int = 0) -> dict[str, Any]:
    return {
        "case": case.id,
        "title": title_of(case, now),
        "state": case.state,
        "failed": case.balance.failed.records,
        "in_flight": case.balance.in_flight.records,
        "unconfirmed": overdue,
        "quarantined": case.balance[Bucket.QUARANTINED].records,
        "quantities": by_meter_json(meters_of(case)),
        "summary": case.failure.summary,
        "code": case.failure.code,
        "trouble": case.trouble,
        **money_json(case),
        "opened_at": to_text(case.opened_at),
        "changed_at": to_text(case.changed_at),
    }


def _lines(found: Sequence[Case], width: int | None, now: datetime, overdue: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each case; where they are wider than `width`, what happened stands below its case."""
    if not found:
        yield "no cases"
        return
    table = [COLUMNS, *(_row(case, now, overdue.get(case.id, 0)) for case in found)]
    yield from rows(table, width, right=(2, 3, 4))


def _row(case: Case, now: datetime, overdue: int) -> tuple[str, ...]:
    settled = sum(case.balance[bucket].records for bucket in SETTLED)
    counts = (case.balance.failed.records - settled, case.balance[Bucket.QUARANTINED].records)
    lost = f"{case.deadline:%Y-%m-%d %H:%M}" if case.deadline else "-"
    stuck = f" (STOPPED: {case.trouble})" if case.trouble is not None and case.due_at is None else ""
    late = f" ({overdue:,} unconfirmed)" if overdue else ""
    return (
        case.id,
        case.state.replace("_", " "),
        *(f"{count:,}" for count in counts),
        written(at_risk(case)) or "-",
        lost,
        f"{title_of(case, now)}{stuck}{late}{_quantities(case)}",
    )


def _quantities(case: Case) -> str:
    """Return what is open of each meter, in its unit; over meters nothing is added."""
    known = [(name, tally) for name, tally in open_quantities(meters_of(case)) if name and tally.quantity]
    told = [f"{rounded(tally.quantity)} {name[:40]}" for name, tally in known[:_METERS_SHOWN]]
    more = [f"{len(known) - _METERS_SHOWN} more meters"] if len(known) > _METERS_SHOWN else []
    return f"; open: {', '.join([*told, *more])}" if told else ""


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
