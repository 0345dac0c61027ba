"""What came of the day: one table, the messages, where the files lie, and the equation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console

from workers.cli.demo.stage import Stage
from workers.cli.equation import lines
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.breakdown import ByCode, by_code, decided, merged
from workers.kernel.ledger.movements import Balance, Bucket, Tally
from workers.records.quantities import to_text as plain

HEADINGS: Final = ("refused", "confirmed", "deferred", "quarantined")
OUTCOMES: Final = (Bucket.CONFIRMED, Bucket.DEFERRED, Bucket.QUARANTINED)
WIDTH: Final = 19
"""Four columns in 80 characters; a quantity of 15 digits fits."""


def report(
    console: Console, stage: Stage, ledger: Ledger, messages: Sequence[Mapping[str, Any]], sent: Mapping[str, int]
) -> bool:
    """Print the day's outcome; return whether every refused record is accounted for and nothing is in flight."""
    queries = ledger.queries
    codes = merged(by_code(queries.entries(case_id)) for case_id in queries.case_ids())
    _print_codes(console, codes)
    _print_messages(console, messages)
    console.print(f"\n[bold]corrected[/]    {stage.bucket}/metermend-*.csv")
    console.print(f"[bold]quarantined[/]  {stage.archive}/cases/*/quarantined-*.parquet\n")
    balance = queries.balance()
    for line in lines(balance):
        console.print(line)
    return _verdict(console, balance, sent)


def _print_codes(console: Console, codes: ByCode) -> None:
    """Print a block for each code: its records, and below them their quantity."""
    console.print("[bold]What became of the refused records, and of their quantity[/]\n")
    console.print(_columns(HEADINGS), style="dim")
    for code, buckets in sorted(codes.items()):
        tallies = [decided(buckets), *(buckets.get(bucket, Tally()) for bucket in OUTCOMES)]
        console.print(code, style="bold")
        console.print(_columns([f"{tally.records:,}" if tally.records else "-" for tally in tallies]))
        console.print(_columns([_quantity(tally) for tally in tallies]), style="dim")


def _quantity(tally: Tally) -> str:
    return "" if not tally.records else plain(tally.quantity) if tally.quantity else "not known"


def _columns(cells: Iterable[str]) -> str:
    return "".join(f"{cell:>{WIDTH}}" for cell in cells)


def _print_messages(console: Console, messages: Sequence[Mapping[str, Any]]) -> None:
    console.print(f"\n[bold]{len(messages)} messages to Slack[/]")
    for message in messages:
        console.print(f"- {message.get('text', '')}", markup=False)


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
