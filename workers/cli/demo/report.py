"""What came of the day: one table, the messages, where the files lie, and the equation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from workers.cli.demo.stage import Stage
from workers.cli.equation import lines
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.breakdown import ByCode, by_code, decided, merged
from workers.kernel.ledger.movements import Balance, Bucket, Tally
from workers.records.quantities import to_text as plain

REPAIRED = (Bucket.PLANNED, Bucket.SUBMITTED, Bucket.CONFIRMED)


def report(
    console: Console, stage: Stage, ledger: Ledger, messages: Sequence[Mapping[str, Any]], sent: Mapping[str, int]
) -> bool:
    """Print the day's outcome; return whether every refused record is accounted for and nothing is in flight."""
    queries = ledger.queries
    codes = merged(by_code(queries.entries(case_id)) for case_id in queries.case_ids())
    console.print(_table(codes))
    _print_messages(console, messages)
    console.print(f"\n[bold]corrected[/]    {stage.bucket}/metermend-*.csv")
    console.print(f"[bold]quarantined[/]  {stage.archive}/cases/*/quarantined-*.parquet\n")
    balance = queries.balance()
    for line in lines(balance):
        console.print(line)
    return _verdict(console, balance, sent)


def _table(codes: ByCode) -> Table:
    table = Table(
        title="What became of the refused records, and of their quantity",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
    )
    table.add_column("code", overflow="fold")
    for heading in ("refused", "confirmed", "deferred", "quarantined"):
        table.add_column(heading, justify="right", overflow="fold", min_width=11)
    for row in _rows(codes):
        table.add_row(*row)
    return table


def _rows(codes: ByCode) -> Iterator[tuple[str, ...]]:
    for code, buckets in sorted(codes.items()):
        shown = (buckets.get(b, Tally()) for b in (Bucket.CONFIRMED, Bucket.DEFERRED, Bucket.QUARANTINED))
        yield (code, *map(_text, (decided(buckets), *shown)))


def _text(tally: Tally) -> str:
    return f"{tally.records}\n[dim]{plain(tally.quantity)}[/]" if tally.records else "-"


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
