"""The command itself: set the stage, play the day, watch it drain, report, and leave nothing running."""

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from workers.cli.demo.report import report, sourcing
from workers.cli.demo.stage import SlackSink, Stage, folder_of_its_own, set_stage
from workers.cli.main import exit_code
from workers.cli.processes import Processes
from workers.kernel import terminal
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.events import ENDED, EventState
from workers.kernel.ledger.journal import Balance, Bucket

DRAIN_SECONDS = 90.0


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".metermend/demo"),
    show_default=True,
    help="Where the demo keeps its files; emptied first.",
)
def demo(folder: Path, *, keep: bool) -> None:
    """Play a company's bad day: Stripe's twin refuses usage, metermend recovers it and shows what came of it.

    Exits with 0 only when every refused record is accounted for and nothing is left in flight.
    """
    if not Path("fixtures/bad_day.py").is_file():
        raise InputUnusable("fixtures/ is not here", mend="run it from a checkout of metermend: make demo")
    console = terminal.console(highlight=False)
    try:
        with folder_of_its_own(folder.resolve()) as place:
            logs = place.parent / f"{place.name}-logs"
            shutil.rmtree(logs, ignore_errors=True)
            with SlackSink() as slack, Processes(logs) as processes:
                well = _play(console, place, processes, slack, keep=keep)
    except KeyboardInterrupt as interrupt:
        with suppress(OSError):  # after a hang-up there is no terminal to write to
            console.print("stopped; every process is down")
        sys.exit(exit_code(interrupt))
    sys.exit(0 if well else 1)


def _play(console: Console, folder: Path, processes: Processes, slack: SlackSink, *, keep: bool) -> bool:
    started = time.monotonic()
    with console.status("starting Redis, the twin of Stripe, web, workers and clock"):
        stage = set_stage(folder, processes, slack.url)
    ledger = connect(stage.database_url)
    sent = stage.play_bad_day()
    drained = watch(console, stage, ledger, processes, DRAIN_SECONDS)
    well = report(console, stage, ledger, slack.messages, sent) and drained
    ledger.close()
    console.print(f"[dim]{time.monotonic() - started:.1f} s[/]")
    if keep:
        _hold(console, stage, processes)
    else:
        console.print("make demo KEEP=1 leaves it all running, with its console")
    return well


def _hold(console: Console, stage: Stage, processes: Processes) -> None:
    console.print(f"\nwebhooks  {stage.web_url}/webhooks", soft_wrap=True)
    console.print(f"console   {stage.web_url}/console  (no name, password: {stage.password})", soft_wrap=True)
    console.print(f"twin      {stage.twin_url}\nlogs      {processes.log_dir}", soft_wrap=True)
    console.print(f"commands  {sourcing(stage)}   in another terminal", soft_wrap=True, markup=False)
    console.print("[dim]Ctrl-C stops everything.[/]")
    while (ended := processes.first_ended()) is None:
        time.sleep(0.5)
    raise _dead(ended, processes)


def _dead(ended: tuple[str, int], processes: Processes) -> InputUnusable:
    """Return what is said when a process of the demo dies: it stops then, and so do the others."""
    name, code = ended
    return InputUnusable(f"{name} ended with exit code {code}", mend=f"see {processes.log_dir}/{name}.log")


STILL_SECONDS: Final = 2.0
"""How long nothing may happen before the day counts as over: longer than a poll, a window and its lag."""
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True)
class DemoState:
    """The ledger at one moment."""

    events: Mapping[str, int]
    cases: Mapping[str, int]
    balance: Balance
    undelivered: int

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way here or on its way here."""
        working = self.events.get(EventState.RECEIVED, 0) + self.events.get(EventState.PROCESSING, 0)
        return bool(self.events) and not working and not self.balance.in_flight.records and not self.undelivered


def watch(console: Console, stage: Stage, ledger: Ledger, processes: Processes, seconds: float) -> bool:
    """Show the progress until the loop has come to rest; return False when `seconds` were not enough.

    Raises InputUnusable when one of the processes ends.
    """
    deadline = time.monotonic() + seconds
    last, since = None, time.monotonic()
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while time.monotonic() < deadline:
            look = _look(stage, ledger)
            live.update(_shown(look))
            if not look.at_rest or look != last:
                last, since = look, time.monotonic()
            elif time.monotonic() - since > STILL_SECONDS:
                return True
            if ended := processes.first_ended():
                raise _dead(ended, processes)
            time.sleep(_LOOK_SECONDS)
    return False


def _look(stage: Stage, ledger: Ledger) -> DemoState:
    queries = ledger.queries
    twin = stage.twin_state()
    undelivered = twin["waiting_to_publish"] + sum(one["undelivered_events"] for one in twin["accounts"].values())
    return DemoState(queries.event_counts(), queries.case_counts(), queries.balance(), undelivered)


def _processed(counts: Mapping[str, int]) -> int:
    """Return how many events are through: an ignored one stays behind no other."""
    return sum(counts.get(state, 0) for state in ENDED)


def _shown(look: DemoState) -> Table:
    table = Table.grid(padding=(0, 2))
    counts = look.events
    table.add_row("events", f"{sum(counts.values())} received, {_processed(counts)} processed")
    table.add_row("cases", ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in sorted(look.cases.items())))
    table.add_row("records", f"{look.balance.failed.records} refused, {look.balance.in_flight.records} in flight")
    table.add_row("", f"[green]{look.balance[Bucket.CONFIRMED].records} recovered[/]")
    return table
