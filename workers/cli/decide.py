"""What a person decides at the terminal: each act shows its effect, asks, and is carried out once.

`metermend write-off`, `corrected`, `approve`, `withdraw`, `take-back` and `acts`.
"""

import getpass
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

import click

from workers.cli.open_ledger import open_context, open_stores
from workers.cli.paragraphs import paragraph, rows, terminal_width
from workers.kernel.clock import to_text
from workers.kernel.counting import counted
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.ledger.acts import FORGET, OF_PARTS, Act, ActState
from workers.pipeline.audit.case_csv import KEY_PREFIX
from workers.pipeline.context import Context
from workers.pipeline.desk import desk
from workers.pipeline.desk.waiting import Chosen

Command = TypeVar("Command", bound=Callable[..., Any])
_SHOWN: Final = 5
"""Examples on the screen."""
_WAITS: Final = "waits for another person's approval: metermend approve {} --as NAME"


class RecordKey(click.ParamType[int]):
    """A record as the quarantine names it, `r17`, or by its number alone."""

    name = "record"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = str(value).removeprefix(KEY_PREFIX)
        return int(number) if number.isdecimal() else self.fail(f"{value!r} names no record", param, ctx)


def deciding(command: Command) -> Command:
    """Give a command the options that every act has."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--as", "actor", metavar="NAME", help="Who decides; the login by default."),
        click.option("--reason", "why", metavar="TEXT", required=True, help="Why, for whoever reads this later."),
    ):
        command = option(command)
    return command


def choosing(command: Command) -> Command:
    """Give a command the options that say which of a case's waiting records are meant."""
    for option in (
        click.option(
            "--record", "records", type=RecordKey(), multiple=True, help="One record, as `r17`; may be repeated."
        ),
        click.option("--meter", help="Only records of this event name."),
        click.option("--code", help="Only records that Stripe counts under this code."),
        click.option("--waiting-for", metavar="REASON", help="Only records that wait for this reason."),
    ):
        command = option(command)
    return command


@click.command("write-off")
@click.argument("case")
@choosing
@deciding
def write_off(case: str, **options: Any) -> None:
    """Let the waiting records of CASE go unbilled, knowingly. `metermend take-back ACT` undoes it."""
    decide(open_context(), "write_off", case, {"case_id": case, "chosen": asdict(chosen_of(options))}, options)


@click.command()
@click.argument("case")
@click.option("--reference", metavar="TEXT", required=True, help="Where they were billed: an invoice, for example.")
@choosing
@deciding
def corrected(case: str, reference: str, **options: Any) -> None:
    """Say that the waiting records of CASE were billed otherwise: metermend will not send them."""
    arguments = {"case_id": case, "chosen": asdict(chosen_of(options)), "reference": reference}
    decide(open_context(), "corrected", case, arguments, options)


@click.command()
@click.argument("act")
@click.option("--as", "actor", metavar="NAME", help="Who approves; the login by default.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def approve(act: str, actor: str | None, *, yes: bool) -> None:
    """Approve ACT, which somebody else has asked for: its effect is shown first."""
    made = open_context()
    found = made.ledger.acts.get(act)
    click.echo(f"{found.actor} asks: {found.why}")
    _approve(made, desk.show_anew(made, found), actor or getpass.getuser(), yes=yes)


@click.command()
@click.argument("act")
@click.option("--as", "actor", metavar="NAME", help="Who withdraws it; the login by default.")
def withdraw(act: str, actor: str | None) -> None:
    """Let ACT be, which is not done yet."""
    made = open_context()
    desk.withdraw(made, made.ledger.acts.get(act), actor or getpass.getuser())
    click.echo(f"{act}: withdrawn, nothing was done")


@click.command("take-back")
@click.argument("act")
@click.option("--as", "actor", metavar="NAME", help="Who takes it back; the login by default.")
def take_back(act: str, actor: str | None) -> None:
    """Undo ACT, as long as nothing of it was sent."""
    made = open_context()
    done = desk.take_back(made, made.ledger.acts.get(act), actor or getpass.getuser())
    click.echo(f"{act}: taken back, {_counted(done.outcome or {}, 'taken_back')} wait again")


@click.command()
@click.option("--open", "only_open", is_flag=True, help="Only those that wait for somebody.")
@click.option("--case", help="Of one case only.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def acts(case: str | None, limit: int, *, only_open: bool, as_json: bool) -> None:
    """List what people have decided, the latest first: who, what, why, and what became of it."""
    ledger, _ = open_stores()
    states = [ActState.ASKED, ActState.SHOWN, ActState.APPROVED] if only_open else []
    found = ledger.acts.all(subject=case, states=states, limit=limit)
    ledger.close()
    if as_json:
        click.echo(json.dumps([_as_json(act) for act in found], indent=2))
        return
    width = terminal_width()
    for act in found:
        told = (act.id, f"{act.asked_at:%Y-%m-%d %H:%M}", act.state, f"{act.actor}: {act.summary}")
        click.echo("\n".join(rows([told], width)))
        click.echo("\n".join(paragraph(f"why: {act.why}", width, indent="  ")))
        if act.state is ActState.SHOWN:
            click.echo(f"  {_WAITS.format(act.id)}")
    if not found:
        click.echo("nobody has decided anything yet")


def decide(
    made: Context, kind: str, subject: str | None, arguments: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Ask for an act, show its effect, let it be approved, and say what became of it."""
    actor = options["actor"] or getpass.getuser()
    act, _ = desk.ask(made, kind, subject, arguments, actor=actor, why=options["why"])
    _approve(made, act, actor, yes=options["yes"])


def _approve(made: Context, act: Act, name: str, *, yes: bool) -> None:
    for line in _effect_lines(act.effect or {}):
        click.echo(line)
    if not yes:
        _confirm(made, act, name)
    ended = carried_out(made, act, name)
    if ended is not None:
        undoes = "" if act.kind in {FORGET, *OF_PARTS} else f"; metermend take-back {act.id} undoes it"
        click.echo(f"{act.id}: done, {_counted(ended.outcome or {})}{undoes}")


def carried_out(made: Context, act: Act, name: str) -> Act | None:
    """Approve an act and return it as it ended; None, after saying why, where it is not carried out yet."""
    try:
        ended = desk.approve(made, act, name)
    except Conflict:
        click.echo(f"{act.id}: approved; a worker holds a case of it, so it is carried out in a moment")
        return None
    if ended.state is ActState.SHOWN:
        click.echo(f"{act.id}: {_WAITS.format(act.id)}")
        return None
    return ended


def _confirm(made: Context, act: Act, name: str) -> None:
    """Let somebody agree, or end here with nothing done: what he broke off is not there for another to approve."""
    asked = sys.stdin.isatty()
    try:
        if asked and click.confirm("Do this?"):
            return
    except click.Abort:  # Ctrl-C, or the end of the input
        pass
    desk.withdraw(made, act, name)
    if asked:
        raise click.Abort
    raise InputUnusable("there is no terminal to ask at, so nothing was done", mend="use --yes")


def _effect_lines(effect: Mapping[str, Any]) -> Iterator[str]:
    yield str(effect["summary"])
    for name, quantity in effect["quantities"].items():
        yield f"  {name}: quantity {quantity}"
    for warning in effect["warnings"]:
        yield f"  beware: {warning}"
    examples = effect["examples"]
    for one in examples[:_SHOWN]:
        yield f"  {one['identifier'] or 'record ' + str(one['record'])}"
        yield f"    - {_cells(one['before'])}"
        yield f"    + {_cells(one['after'])}{'  (' + one['note'] + ')' if one['note'] else ''}"
    if effect["records"] > _SHOWN < len(examples):
        yield f"  and {effect['records'] - _SHOWN:,} more"


def _cells(row: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name}={value}" if name else str(value) for name, value in row.items() if value is not None)


def _counted(outcome: Mapping[str, Any], of: str | None = None) -> str:
    return counted((outcome[of] if of else outcome).get("records", 0), "record")


def _as_json(act: Act) -> dict[str, Any]:
    ended = to_text(act.ended_at) if act.ended_at else None
    return {**asdict(act), "asked_at": to_text(act.asked_at), "ended_at": ended}


def chosen_of(options: Mapping[str, Any]) -> Chosen:
    """Return which records the options of `choosing` mean."""
    return Chosen(options["waiting_for"], options["code"], options["meter"], tuple(options["records"]))
