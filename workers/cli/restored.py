"""`metermend restored`: say, before anything works with it, that the ledger was restored from a backup."""

import click

from workers.cli.open_ledger import open_context
from workers.cli.reconcile import show
from workers.pipeline.restores import note_restore
from workers.pipeline.upkeep.reconcile import OVERLAP, lost_since, reconcile


@click.command()
def restored() -> None:
    """Note that the ledger was restored from a backup just now, and take in what it has lost of Stripe's events.

    Run it after the restore and before workers and clock start. From then on, whatever was refused before is sent
    only where Stripe has counted nothing of that customer in its minute. Exit code 1 when a list of Stripe's could
    not be compared to its end: run it again, which looks through the whole time again.
    """
    made = open_context()
    lost = note_restore(made)
    click.echo(f"nothing is known from {lost.since:%Y-%m-%d %H:%M} to {lost.until:%Y-%m-%d %H:%M} UTC")
    show(reconcile(made, lost_since(made) - OVERLAP))
