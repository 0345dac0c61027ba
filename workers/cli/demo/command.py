"""The command itself: set the stage, play the day, watch it drain, report, and leave nothing running."""

import sys
import time
from pathlib import Path

import click
from rich.console import Console

from workers.cli.demo.progress import watch
from workers.cli.demo.report import report
from workers.cli.demo.slack import SlackSink
from workers.cli.demo.stage import Stage, set_stage
from workers.cli.processes import Processes
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
    console = Console(highlight=False)
    try:
        with SlackSink() as slack, Processes(folder.resolve().parent / "demo-logs") as processes:
            well = _play(console, folder.resolve(), processes, slack, keep=keep)
    except KeyboardInterrupt:
        console.print("stopped; every process is down")
        sys.exit(130)
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
    return well


def _hold(console: Console, stage: Stage, processes: Processes) -> None:
    console.print(
        f"\nwebhooks  {stage.web_url}/webhooks\nconsole   {stage.web_url}/console  (password: {stage.password})"
    )
    console.print(f"twin      {stage.twin_url}\nlogs      {processes.log_dir}\n[dim]Ctrl-C stops everything.[/]")
    while processes.first_ended() is None:
        time.sleep(0.5)
