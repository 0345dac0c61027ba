"""`metermend reconcile` takes in what Stripe sent and we never got; `metermend restored`, after a restore."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import click

from workers.cli.open_ledger import open_context
from workers.kernel.clock import from_text
from workers.kernel.errors import InputUnusable
from workers.pipeline.context import Context
from workers.pipeline.restores import Restore, note_restore
from workers.pipeline.upkeep.reconcile import OVERLAP, Look, lost_since
from workers.pipeline.upkeep.reconcile import reconcile as reconcile_lists


@click.command()
@click.option(
    "--since", metavar="TIME", help="RFC 3339 time, or days such as 3d. Default: where the last look ended."
)
def reconcile(since: str | None) -> None:
    """Compare Stripe's lists of events with the ledger and take in what never arrived, at most 30 days back.

    Exit code 1 when a list could not be compared to its end; what was found until then is kept, and the next look
    goes on from there.
    """
    made = open_context()
    show(reconcile_lists(made, _moment(since, made.clock()) if since else None))


def show(looks: Iterable[Look]) -> None:
    """Print what comes of each list; ends with exit code 1 when one of them broke off."""
    broken = 0
    for look in looks:
        click.echo(_line(look))
        if look.trouble:
            broken += 1
            click.echo(f"  broke off: {look.trouble}", err=True)
    if broken:
        raise click.exceptions.Exit(1)


def _line(look: Look) -> str:
    whose = look.account or "own account"
    since = f"{look.since:%Y-%m-%d %H:%M} UTC"
    return f"{whose}, {look.kind} events since {since}: {look.listed:,} listed, {look.recorded:,} were missing"


def _moment(text: str, now: datetime) -> datetime:
    """Return the time that the operator named; raises InputUnusable when it is none or lies ahead."""
    try:
        moment = now - timedelta(days=float(text[:-1])) if text.endswith("d") else from_text(text)
    except (ValueError, OverflowError):
        raise InputUnusable(f"{text!r} is no time", where="--since", mend="2026-11-20T00:00:00Z or 3d") from None
    if moment > now:
        raise InputUnusable(f"{text} lies in the future", where="--since", mend="name a time in the past") from None
    return moment


@click.command()
def restored() -> None:
    """Note that the ledger was restored from a backup just now, and take in what it has lost of Stripe's events.

    Run it after the restore and before workers and clock start. From then on, whatever was refused before is sent
    only where Stripe has counted nothing of that customer in its minute. Exit code 1 when a list of Stripe's could
    not be compared to its end: run it again, which looks through the whole time again.
    """
    made = open_context()
    take_in_what_is_lost(made, note_restore(made.ledger, made.clock()))


def take_in_what_is_lost(context: Context, lost: Restore) -> None:
    """Say what a restored ledger does not know, and take in what Stripe lists of that time; ends as `show` does."""
    click.echo(f"nothing is known from {lost.since:%Y-%m-%d %H:%M} to {lost.until:%Y-%m-%d %H:%M} UTC")
    show(reconcile_lists(context, lost_since(context) - OVERLAP))
