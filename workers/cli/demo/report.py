"""What came of the day: one table, the messages, where the files lie, and the equation."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from workers.archive import Archive
from workers.cli.case_text import change_text
from workers.cli.demo.stage import Stage
from workers.cli.paragraphs import rows
from workers.kernel.clock import utc_now
from workers.kernel.equation import KNOWN_BY, terms
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.by_code import ByCode, by_code, decided, merged
from workers.kernel.ledger.examples import Change
from workers.kernel.ledger.journal import NOT_KNOWN, Balance, Bucket, Tally
from workers.kernel.money import written
from workers.kernel.storage import open_store
from workers.pipeline.audit.case_csv import write_csv
from workers.pipeline.context import Stores

HEADINGS: Final = ("refused", "confirmed", "deferred", "quarantined")
OUTCOMES: Final = (Bucket.CONFIRMED, Bucket.DEFERRED, Bucket.QUARANTINED)
INCIDENTS: Final = 1_000
"""More than a bad day has."""
LONGEST_DAY: Final = timedelta(days=1)
GAP: Final = 2
"""Between two columns."""


def report(
    console: Console, stage: Stage, ledger: Ledger, messages: Sequence[Mapping[str, Any]], sent: Mapping[str, int]
) -> bool:
    """Print the day's outcome; return whether every refused record is accounted for and nothing is in flight."""
    queries = ledger.queries
    codes = merged(by_code(queries.entries(case_id)) for case_id in queries.case_ids())
    places = Stores(ledger, Archive(open_store(str(stage.archive)), stage.folder / "scratch"))
    _print_codes(console, codes, _mended(ledger))
    _print_found(console, queries.balance())
    _print_money(console, ledger)
    _print_messages(console, messages, sum(not one.said for one in ledger.incidents.recent(INCIDENTS)))
    _print_places(console, stage, places)
    balance = queries.balance()
    console.print(equation_in_a_line(balance), soft_wrap=True)
    return _verdict(console, balance, sent)


def _print_codes(console: Console, codes: ByCode, mended: Mapping[str, Change]) -> None:
    """Print what became of each code's records, and one repair of it."""
    console.print("[bold]What became of the refused records[/]")
    for line in code_lines(codes, mended, console.width):
        console.print(line, markup=False, soft_wrap=True)


def code_lines(codes: ByCode, mended: Mapping[str, Change], width: int) -> Iterator[str]:
    """Yield what became of each code, then a repair of each: beside the code where there is room, else below."""
    names = max([len("code"), *map(len, codes)])
    yield from _row("code", names, _columns(HEADINGS), width)
    for code, buckets in sorted(codes.items()):
        tallies = [decided(buckets), *(buckets.get(bucket, Tally()) for bucket in OUTCOMES)]
        counts = [f"{tally.records:,}" if tally.records else "-" for tally in tallies]
        yield from _row(code, names, _columns(counts), width)
    yield from ("", "Mended, one of each code") if mended else ()
    yield from rows([(code, change_text(change)) for code, change in sorted(mended.items())], width)


def _columns(cells: Iterable[str]) -> str:
    return "".join(f"{cell:>{GAP + len(heading)}}" for cell, heading in zip(cells, HEADINGS, strict=True))


def _row(code: str, names: int, counts: str, width: int) -> Iterator[str]:
    beside = f"{code:<{names}}{counts}"
    yield from (beside,) if len(beside) <= width else (code, counts)


def _mended(ledger: Ledger) -> dict[str, Change]:
    """Return one repair of each code."""
    kept = map(ledger.examples.of, ledger.queries.case_ids())
    return {change.code: change for examples in kept for change in reversed(examples.changes)}


def _print_found(console: Console, balance: Balance) -> None:
    """Say how the rows of the refused records are known: Stripe's reports name two of each code."""
    console.print("\n[bold]How the refused records were found[/]")
    for how, words in KNOWN_BY.items():
        console.print(f"{balance.found.get(how, 0):>8,}  {words}")


def _print_money(console: Console, ledger: Ledger) -> None:
    """Say what was recovered, and what still stands at risk and until when."""
    at_risk, recovered = ledger.money.at_risk(), ledger.money.recovered(utc_now() - LONGEST_DAY)
    by_when = f", the first of it by {at_risk.deadline:%Y-%m-%d %H:%M} UTC" if at_risk.deadline else ""
    console.print(f"\n[bold]recovered[/]    {written(recovered.money) or NOT_KNOWN}")
    console.print(f"[bold]at risk[/]      {written(at_risk.money) or NOT_KNOWN}{by_when}")


def sourcing(environment: Path) -> str:
    """Return the line that lets a shell take over an environment."""
    return f"set -a; . {shlex.quote(_near(environment))}; set +a"


def equation_in_a_line(balance: Balance) -> str:
    """Return the equation in records: over several meters nothing else can be added."""
    right = " + ".join(f"{tally.records:,} {name}" for name, tally in terms(balance))
    return f"{balance.failed.records:,} failed = {right}"


def _print_places(console: Console, stage: Stage, places: Stores) -> None:
    """Say where the files lie, and make those of the quarantined records."""
    ledger = places.ledger
    folder = stage.folder / "quarantined"
    folder.mkdir(exist_ok=True)
    for case_id in ledger.queries.case_ids():
        write_csv(places, case_id, Bucket.QUARANTINED, folder / f"{case_id}.csv")
    for line in (
        f"\n[bold]corrected[/]    {_near(stage.bucket)}/metermend-*.csv",
        f"[bold]quarantined[/]  {_near(folder)}/case_*.csv",
        f"[bold]commands[/]     {sourcing(stage.environment)}",
        "             metermend cases, metermend case show CASE, metermend events, metermend prove\n",
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
