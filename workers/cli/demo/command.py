"""The command itself: set the stage, play the day, watch it drain, report, and leave nothing running."""

import functools
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from workers.cli.demo.cli_acts import play_acts
from workers.cli.demo.report import report, sourcing
from workers.cli.demo.stage import SlackSink, Stage, folder_of_its_own, set_stage
from workers.cli.demo.stripe_cli import StripeCli, find_cli
from workers.cli.demo.watch import dead, watch
from workers.cli.main import exit_code
from workers.cli.processes import Processes
from workers.kernel import terminal
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import connect


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@click.option("--stripe-cli", "with_cli", is_flag=True, help="Afterwards trigger failures with the Stripe CLI.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".metermend/demo"),
    show_default=True,
    help="Where the demo keeps its files; emptied first.",
)
def demo(folder: Path, *, keep: bool, with_cli: bool) -> None:
    """Play a company's bad day: Stripe's twin refuses usage, metermend recovers it and shows what came of it.

    Exits with 0 only when every refused record is accounted for and nothing is left in flight; with --stripe-cli,
    when every command of it brought about what it should, too.
    """
    if not Path("fixtures/bad_day.py").is_file():
        raise InputUnusable("fixtures/ is not here", mend="run it from a checkout of metermend: make demo")
    stripe = find_cli() if with_cli else None
    console = terminal.console(highlight=False)
    try:
        with folder_of_its_own(folder.resolve()) as place:
            logs = place.parent / f"{place.name}-logs"
            shutil.rmtree(logs, ignore_errors=True)
            with SlackSink() as slack, Processes(logs) as processes:
                well = _play(console, place, processes, slack, stripe, keep=keep)
    except KeyboardInterrupt as interrupt:
        with suppress(OSError):  # after a hang-up there is no terminal to write to
            console.print("stopped; every process is down")
        sys.exit(exit_code(interrupt))
    sys.exit(0 if well else 1)


def _play(
    console: Console, folder: Path, processes: Processes, slack: SlackSink, stripe: str | None, *, keep: bool
) -> bool:
    started = time.monotonic()
    with console.status("starting Redis, the twin of Stripe, web, workers and clock"):
        stage = set_stage(folder, processes, slack.url)
    ledger = connect(stage.database_url)
    sent = stage.play_bad_day()
    settle = functools.partial(watch, console, stage, ledger, processes)
    drained = settle()
    well = report(console, stage, ledger, slack.messages, sent) and drained
    if stripe:
        cli = StripeCli(stripe, stage.cli_variables)
        well = play_acts(console, cli, f"{stage.web_url}/webhooks", ledger, processes, settle) and well
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
    for name, environment in (("commands", stage.environment), ("stripe", stage.cli_environment)):
        console.print(f"{name:<8}  {sourcing(environment)}   in another terminal", soft_wrap=True, markup=False)
    console.print("[dim]Ctrl-C stops everything.[/]")
    while (ended := processes.first_ended()) is None:
        time.sleep(0.5)
    raise dead(ended, processes)
