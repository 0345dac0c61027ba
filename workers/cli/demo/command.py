"""The command itself: set the stage, play the day, watch it drain, report, and leave nothing running."""

import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from workers.cli.demo.progress import watch
from workers.cli.demo.report import report, sourcing
from workers.cli.demo.slack import SlackSink
from workers.cli.demo.stage import Stage, set_stage
from workers.cli.processes import Processes
from workers.cli.stopping import exit_code
from workers.kernel import terminal
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import connect

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
    logs = folder.resolve().parent / "demo-logs"
    shutil.rmtree(logs, ignore_errors=True)
    try:
        with SlackSink() as slack, Processes(logs) as processes:
            well = _play(console, folder.resolve(), processes, slack, keep=keep)
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
    console.print(
        f"\nwebhooks  {stage.web_url}/webhooks\nconsole   {stage.web_url}/console  (password: {stage.password})"
    )
    console.print(f"twin      {stage.twin_url}\nlogs      {processes.log_dir}", soft_wrap=True)
    console.print(f"commands  {sourcing(stage)}   in another terminal", soft_wrap=True, markup=False)
    console.print("[dim]Ctrl-C stops everything.[/]")
    while processes.first_ended() is None:
        time.sleep(0.5)
