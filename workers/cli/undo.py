"""`metermend undo`: take usage back that was billed by mistake."""

import getpass
import sys
from collections.abc import Iterator

import click

from workers.cli.open_ledger import open_context
from workers.kernel.errors import InputUnusable
from workers.pipeline.context import Context
from workers.pipeline.undo.cancel import Undoable, Undone, undoable
from workers.pipeline.undo.cancel import undo as undo_submission
from workers.pipeline.undo.reverse import counter_enter
from workers.records.quantities import to_text as plain


@click.command()
@click.argument("subject", metavar="CASE|SUBMISSION")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--counter-entry", is_flag=True, help="Also take back older usage, by usage of the negated quantity.")
@click.option("--approve", metavar="NAME", help="Who answers for it; stands in the journal.")
def undo(subject: str, *, yes: bool, counter_entry: bool, approve: str | None) -> None:
    """Take back what was billed by a submission, or by every submission of a case.

    The plan is shown first. Stripe cancels what it received within 24 hours; older usage is taken back only with
    --counter-entry and --approve NAME. What breaks off after you have agreed, the service carries on by itself.
    """
    if counter_entry and approve is None:
        raise InputUnusable("needs --approve NAME", where="--counter-entry")
    made = open_context()
    plan = undoable(made, subject)
    for line in _plan(plan, counter_entry=counter_entry):
        click.echo(line)
    if not plan:
        return
    if not yes:
        _ask()
    for one in plan:
        for line in _undo(made, one, approve or getpass.getuser(), counter_entry=counter_entry):
            click.echo(line)


def _ask() -> None:
    """Let somebody agree, or end here. Raises InputUnusable where there is no terminal to ask at."""
    if not sys.stdin.isatty():
        raise InputUnusable("there is no terminal to ask at, so nothing was taken back", mend="use --yes")
    click.confirm("Take this back?", abort=True)


def _plan(plan: list[Undoable], *, counter_entry: bool) -> Iterator[str]:
    if not plan:
        yield "nothing is billed: there is nothing to undo"
    for one in plan:
        billed = f"{one.billed.records:,} records, quantity {plain(one.billed.quantity)}"
        why = "sent over 24 hours ago" if one.submission.is_at_stripe else "Metronome cancels nothing"
        older = "by a counter-entry" if counter_entry else f"NOT without --counter-entry: {why}"
        yield f"{one.submission.id}: {billed}, {'by cancelling' if one.fresh else older}"


def _undo(context: Context, one: Undoable, approved_by: str, *, counter_entry: bool) -> Iterator[str]:
    if one.fresh:
        yield from _told(context, undo_submission(context, one.submission, approved_by=approved_by))
    if not counter_entry:
        return
    entered = counter_enter(context, one.submission, approved_by=approved_by)
    if entered.case_id:
        yield f"{one.submission.id}: {entered.records:,} records are countered by {entered.case_id}"
    for reason, count in entered.left.items():
        yield f"  cannot be countered: {count:,} {reason}"


def _told(context: Context, undone: Undone) -> Iterator[str]:
    yield f"{undone.submission_id}: {undone.cancelled:,} records cancelled"
    if undone.not_cancelled:
        yield f"  {undone.not_cancelled:,} were not cancelled and stay where they are:"
    yield from (f"    {identifier}: {message}" for identifier, message in undone.kept)
    if undone.unanswered:
        yield f"  {undone.unanswered:,} may be cancelled: look in the meter's summaries"
    yield f"  every answer: {context.archive.location(undone.answers)}"
