"""What came of the day: one table, the messages, where the files lie, and the equation."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from workers.archive import Archive
from workers.cli.demo.stage import Stage
from workers.kernel.equation import lines
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.by_code import ByCode, by_code, decided, merged
from workers.kernel.ledger.journal import Balance, Bucket, Found, Tally
from workers.kernel.storage import open_store
from workers.pipeline.audit.case_csv import write_csv
from workers.pipeline.context import Stores

HEADINGS: Final = ("refused", "confirmed", "deferred", "quarantined")
OUTCOMES: Final = (Bucket.CONFIRMED, Bucket.DEFERRED, Bucket.QUARANTINED)
INCIDENTS: Final = 1_000
"""More than a bad day has."""
WIDTHS: Final = (26, 18, 18, 18)
"""Four columns in 80 characters; a quantity of 15 digits fits, and a longer one gets a line of its own."""


def report(
    console: Console, stage: Stage, ledger: Ledger, messages: Sequence[Mapping[str, Any]], sent: Mapping[str, int]
) -> bool:
    """Print the day's outcome; return whether every refused record is accounted for and nothing is in flight."""
    queries = ledger.queries
    codes = merged(by_code(queries.entries(case_id)) for case_id in queries.case_ids())
    _print_codes(console, codes)
    _print_found(console, queries.balance())
    _print_messages(console, messages, sum(not one.said for one in ledger.incidents.recent(INCIDENTS)))
    _print_places(console, stage, ledger)
    balance = queries.balance()
    for line in lines(balance):
        console.print(line)
    return _verdict(console, balance, sent)


def _print_codes(console: Console, codes: ByCode) -> None:
    """Print a block for each code: its records, and below them their quantity."""
    console.print("[bold]What became of the refused records, and of their readable quantity[/]\n")
    _print_columns(console, HEADINGS, style="dim")
    for code, buckets in sorted(codes.items()):
        tallies = [decided(buckets), *(buckets.get(bucket, Tally()) for bucket in OUTCOMES)]
        console.print(code, style="bold")
        _print_columns(console, [f"{tally.records:,}" if tally.records else "-" for tally in tallies])
        _print_columns(console, [tally.shown if tally.records else "" for tally in tallies], style="dim")


def _print_found(console: Console, balance: Balance) -> None:
    """Say how the rows of the refused records are known: Stripe's reports name two of each code."""
    told = {
        Found.NAMED: "named by Stripe",
        Found.EXACT: "found in the usage files, as many as Stripe has counted",
        Found.CERTAIN: "found there, of a kind that Stripe can never have accepted",
        Found.PROVED: "found there, and missing in Stripe's totals",
        Found.UNEXPLAINED: "counted by Stripe, and not found",
    }
    console.print("\n[bold]How the refused records were found[/]")
    for how, words in told.items():
        console.print(f"{balance.found.get(how, 0):>8,}  {words}")


def _print_columns(console: Console, cells: Sequence[str], style: str = "") -> None:
    for line in columns(cells):
        console.print(line, style=style, soft_wrap=True)


def columns(cells: Sequence[str]) -> Iterator[str]:
    """Yield the cells as a line; one that is too long gets a line of its own, which ends where its column does."""
    fits = [len(cell) < width for cell, width in zip(cells, WIDTHS, strict=True)]
    if any(cell for cell, fit in zip(cells, fits, strict=True) if fit):
        yield "".join(
            f"{cell if fit else '':>{width}}" for cell, fit, width in zip(cells, fits, WIDTHS, strict=True)
        )
    ends = accumulate(WIDTHS)
    yield from (f"{cell:>{end}}" for cell, fit, end in zip(cells, fits, ends, strict=True) if not fit)


def sourcing(stage: Stage) -> str:
    """Return the line that lets a shell work on the demo's ledger."""
    return f"set -a; . {shlex.quote(_near(stage.environment))}; set +a"


def _print_places(console: Console, stage: Stage, ledger: Ledger) -> None:
    """Say where the files lie, and make those of the quarantined records."""
    places = Stores(ledger, Archive(open_store(str(stage.archive)), stage.folder / "scratch"))
    folder = stage.folder / "quarantined"
    folder.mkdir(exist_ok=True)
    for case_id in ledger.queries.case_ids():
        write_csv(places, case_id, Bucket.QUARANTINED, folder / f"{case_id}.csv")
    for line in (
        f"\n[bold]corrected[/]    {_near(stage.bucket)}/metermend-*.csv",
        f"[bold]quarantined[/]  {_near(folder)}/case_*.csv",
        f"[bold]commands[/]     {sourcing(stage)}",
        "             metermend incidents, metermend quarantine CASE, metermend prove\n",
    ):
        console.print(line, soft_wrap=True)


def _near(path: Path) -> str:
    """Return the path as seen from here, where it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _print_messages(console: Console, messages: Sequence[Mapping[str, Any]], held_back: int) -> None:
    console.print(f"\n[bold]{len(messages)} messages to Slack[/]")
    for message in messages:
        console.print(f"- {message.get('text', '')}", markup=False)
    if held_back:
        console.print(f"{held_back} more incidents wait for a digest: see metermend incidents")


def _verdict(console: Console, balance: Balance, sent: Mapping[str, int]) -> bool:
    refused, seen = sent["to_be_refused"], balance.failed.records
    if seen != refused:
        console.print(f"[red]the company sent {refused} records that are refused, the ledger knows {seen}[/]")
    if balance.in_flight.records:
        console.print(f"[red]{balance.in_flight.records} records are still in flight[/]")
    well = seen == refused and balance.holds() and not balance.in_flight.records
    if well:
        console.print(f"[green]all {seen} refused records of {sent['sent']} are accounted for[/]")
    return well
