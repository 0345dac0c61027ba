"""`metermend parts`: corrected usage as files that a person uploads in Stripe's Dashboard."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from workers.cli.decide import decide, deciding
from workers.cli.open_ledger import open_context, open_stores
from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger import parts as kept
from workers.kernel.ledger.acts import HAND_OUT, NOT_UPLOADED, UPLOADED, ActState
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.places import uploading_by_hand
from workers.kernel.settings import load
from workers.pipeline.context import Context

_ACCOUNT = click.option(
    "--account", metavar="ACCT", help="The connected account that it is of; your own by default."
)
_SHOWN = 20


@click.group(invoke_without_command=True)
@click.pass_context
def parts(ctx: click.Context) -> None:
    """Show what waits to be uploaded in the Dashboard, who has a part of it, and what became of the last ones."""
    if ctx.invoked_subcommand is not None:
        return
    ledger, _ = open_stores()
    click.echo("\n".join(_lines(ledger)))
    ledger.close()


@parts.command()
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="FOLDER",
    default=".",
    show_default=True,
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Where to put it.",
)
@_ACCOUNT
@deciding
def take(folder: Path, account: str | None, **options: Any) -> None:
    """Take the next part: it is yours until you say what became of it. Upload it once, as it is."""
    made = open_context()
    decide(made, HAND_OUT, None, {"account": account}, options)
    _put_down(made, account, folder)


@parts.command()
@click.argument("part")
@_ACCOUNT
@deciding
def uploaded(part: str, account: str | None, **options: Any) -> None:
    """Say that PART was uploaded; the list of what Stripe refused of it goes with `metermend take-in --of PART`."""
    decide(open_context(), UPLOADED, None, {"part": part, "account": account}, options)


@parts.command("not-uploaded")
@click.argument("part")
@_ACCOUNT
@deciding
def not_uploaded(part: str, account: str | None, **options: Any) -> None:
    """Say that Stripe has taken in nothing of PART: its records wait for a person again."""
    decide(open_context(), NOT_UPLOADED, None, {"part": part, "account": account}, options)


def _put_down(made: Context, account: str | None, folder: Path) -> None:
    """Put the part that was just taken into a folder; one that waits for another's approval is not there yet."""
    taken = kept.out(made.ledger, account)
    if taken is None or taken.state is not ActState.DONE or taken.outcome is None:
        return
    there = folder / taken.outcome["part"]
    if there.exists():
        raise InputUnusable("a file of that name is there already", where=str(there), mend="look whose it is")
    shutil.copyfile(made.archive.fetch(RecordSetRef(*taken.outcome["file"])), there)
    click.echo(f"{there}: upload it once, as it is, then: metermend parts uploaded {there.name}")


def _lines(ledger: Ledger) -> Iterator[str]:
    accounts = uploading_by_hand(load().target_places)
    for account in accounts:
        cases, records = kept.waiting(ledger, account)
        whose = account or "your own account"
        yield f"{whose}: {counted(records, 'record')} of {counted(cases, 'case')} to be uploaded"
        taken = kept.out(ledger, account)
        if taken is not None:
            part = (taken.outcome or {}).get("part")
            yield f"  {taken.actor} has {part or 'the next part'} since {taken.asked_at:%Y-%m-%d %H:%M} UTC"
            if part:
                yield f"  once it is uploaded: metermend parts uploaded {part} --reason WHY"
        elif records:
            of = f" --account {account}" if account else ""
            yield f"  the next part: metermend parts take{of} --reason WHY -o FOLDER"
    if not accounts:
        yield "usage is not uploaded by hand: SUBMIT_TO does not name dashboard"
    for one in kept.handed_out(ledger, _SHOWN):
        outcome = one.act.outcome or {}
        said = f"{one.told.kind.replace('_', ' ')}, says {one.told.actor}" if one.told else "nobody has told of it"
        yield f"{one.name}  {counted(outcome['records'], 'record')}  {one.act.actor}: {said}"
