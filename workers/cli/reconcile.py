"""`metermend reconcile`: take in what Stripe says it sent and we never got."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import click

from workers.cli.open_ledger import open_context
from workers.kernel.clock import from_text
from workers.kernel.errors import InputUnusable
from workers.pipeline.upkeep.reconcile import Look
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
