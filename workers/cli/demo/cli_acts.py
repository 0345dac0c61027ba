"""`metermend demo --stripe-cli`: what one types with the Stripe CLI, one after another, and what comes of each."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from rich.console import Console

from workers.cli.demo.stripe_cli import Listening, StripeCli
from workers.cli.processes import Processes
from workers.kernel.codes import EventType
from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket

ARCHIVED: Final = "metermend_cli_archived"
"""The meter that the bad day of the CLI has archived, and sends usage for."""


class Outcome(NamedTuple):
    """How many records were refused, and how many of them ended confirmed, or with a person."""

    refused: int
    confirmed: int
    quarantined: int


@dataclass(frozen=True)
class Act:
    """A command that sends usage, and what must come of it."""

    command: tuple[str, ...]
    told: Outcome


ACTS: Final = (
    Act(("trigger", "v1.billing.meter.error_report_triggered"), Outcome(1, 1, 0)),
    Act(("trigger", "v1.billing.meter.no_meter_found"), Outcome(1, 0, 1)),
    Act(("trigger", "fixtures/cli/error_report_triggered.json"), Outcome(1, 1, 0)),
    Act(("trigger", "fixtures/cli/no_meter_found.json"), Outcome(1, 0, 1)),
    Act(("fixtures", "fixtures/cli/bad_day.json"), Outcome(10, 3, 7)),
)


class _Line(NamedTuple):
    """What came of a command; `well` where it is what it was told."""

    command: Sequence[str]
    came: str
    well: bool


def play_acts(
    console: Console,
    cli: StripeCli,
    webhooks: str,
    ledger: Ledger,
    processes: Processes,
    settle: Callable[[], bool],
) -> bool:
    """Run all of it while `stripe listen` forwards; print what came of each; return whether all is as told.

    `webhooks` is where to; `settle` waits until the loop has come to rest, and returns whether it has.
    """
    snapshot, thin = (Listening(cli, processes, kind, f"{webhooks}/{kind}") for kind in ("snapshot", "thin"))
    if not (snapshot.is_ready() and thin.is_ready()):
        console.print(f"[red]stripe listen does not come to listen: see {processes.log_dir}[/]")
        return False
    steps: list[Callable[[], _Line]] = [
        *(partial(_played, act, cli, ledger, settle) for act in ACTS),
        lambda: _played(_reactivation(cli), cli, ledger, settle),
        lambda: _resent(cli, snapshot),
        lambda: _forwarded(snapshot),
        lambda: _forwarded(thin),
    ]
    lines = [_line_of(step) for step in steps]
    _print(console, lines)
    return all(line.well for line in lines)


def _line_of(step: Callable[[], _Line]) -> _Line:
    """Take a step; where a command of it fails, that is its line, and the next one is taken all the same."""
    try:
        return step()
    except InputUnusable as failure:
        return _Line((), str(failure), well=False)


def _reactivation(cli: StripeCli) -> Act:
    """Return the act that lets the usage of the archived meter go: its events wake what waits for the meter."""
    meters = _listed(cli, "billing", "meters", "list", "-d", "status=inactive")
    archived = [str(meter["id"]) for meter in meters if meter["event_name"] == ARCHIVED]
    if not archived:
        raise InputUnusable(f"no meter {ARCHIVED} is archived")
    return Act(("billing", "meters", "reactivate", archived[0]), Outcome(0, 1, -1))


def _played(act: Act, cli: StripeCli, ledger: Ledger, settle: Callable[[], bool]) -> _Line:
    before = _totals(ledger)
    cli.run(*act.command)
    settled = settle()
    came = Outcome(*(now - then for now, then in zip(_totals(ledger), before, strict=True)))
    well = settled and came == act.told
    told = "" if well else f"; told: {_in_words(act.told)}"
    return _Line(act.command, f"{_in_words(came)}{told}{'' if settled else '; not at rest'}", well)


def _in_words(came: Outcome) -> str:
    fewer = "fewer " if came.quarantined < 0 else ""
    return f"{came.refused} refused: {came.confirmed} confirmed, {abs(came.quarantined)} {fewer}with a person"


def _totals(ledger: Ledger) -> Outcome:
    balance = ledger.queries.balance()
    tallies = (balance.failed, balance[Bucket.CONFIRMED], balance[Bucket.QUARANTINED])
    return Outcome(*(tally.records for tally in tallies))


def _resent(cli: StripeCli, listening: Listening) -> _Line:
    """Have an event sent once more, which then `stripe listen` alone is sent."""
    event_id = str(_listed(cli, "events", "list", "-d", f"type={EventType.IMPORT_SET_SUCCEEDED}")[0]["id"])
    before = [event for event, _ in listening.answers()].count(event_id)
    cli.run("events", "resend", event_id)
    forwarded = listening.forwards(event_id, before + 1)
    return _Line(("events", "resend", event_id), "forwarded" if forwarded else "not forwarded", forwarded)


def _listed(cli: StripeCli, *command: str) -> list[dict[str, Any]]:
    return list(json.loads(cli.run(*command, "--limit", "100"))["data"])


def _forwarded(listening: Listening) -> _Line:
    statuses = [status for _, status in listening.answers()]
    taken = statuses.count(200)
    words = f"{counted(len(statuses), 'event')} forwarded, {taken} taken with 200"
    return _Line(listening.command, words, 0 < taken == len(statuses))


def _print(console: Console, lines: Sequence[_Line]) -> None:
    width = max(len(line.came) for line in lines)
    console.print("\n[bold]What came of what was typed[/]")
    for line in lines:
        mark = "[green]as told [/]" if line.well else "[red]NOT SO  [/]"
        typed = " ".join(("stripe", *line.command)) if line.command else ""
        console.print(f"{mark}  {line.came:<{width}}  {typed}", soft_wrap=True)
