"""`metermend backup` and `metermend restore`: ledger and archive together, to another place and back."""

from collections.abc import Sequence

import click

from workers.bootstrap import build, context
from workers.cli.open_ledger import open_stores
from workers.cli.reconcile import take_in_what_is_lost
from workers.kernel.clock import utc_now
from workers.kernel.counting import counted
from workers.kernel.settings import load
from workers.kernel.storage import open_store
from workers.pipeline.upkeep.backup import Place, back_up
from workers.pipeline.upkeep.backup import restore as restore_from


@click.command()
@click.argument("place")
def backup(place: str) -> None:
    """Back up ledger and archive to PLACE, a directory or s3://, gs://, az://, while the service runs.

    The ledger is kept there as an SQLite file under the time of now, files of the archive where PLACE lacks them.
    Exit code 1 where files of the archive are damaged.
    """
    ledger, archive = open_stores()
    made = back_up(ledger, archive, Place.at(place), load().scratch_dir, utc_now())
    ledger.close()
    click.echo(f"{made.ledger}, and {counted(made.new, 'new file')} of the archive")
    _end(made.damaged)


@click.command()
@click.argument("place")
@click.option("--ledger", "name", metavar="NAME", help="Which ledger under PLACE/ledgers. Default: the newest.")
def restore(place: str, name: str | None) -> None:
    """Restore what `metermend backup` has put to PLACE, into a new database and the archive.

    Stop web, workers and clock before. What `metermend restored` does is done with it. Exit code 1 where files of
    the backup are damaged, or a list of Stripe's could not be compared to its end: then run `metermend restored`.
    """
    settings = load()
    made = build(settings)  # `context` looks into the ledger, which is not there yet
    files = open_store(settings.archive_url)
    found = restore_from(Place.at(place), name, made.ledger, files, settings.scratch_dir, made.clock())
    click.echo(f"restored {found.ledger}: see what `metermend prove` says before the service starts")
    take_in_what_is_lost(context(), found.lost)
    _end(found.damaged)


def _end(damaged: Sequence[str]) -> None:
    for where in damaged:
        click.echo(f"  damaged, and left out: {where}", err=True)
    if damaged:
        raise click.exceptions.Exit(1)
