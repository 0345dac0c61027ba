"""`metermend db`: the ledger's schema, and what it keeps added up."""

import click

from workers.cli.open_ledger import require_ledger
from workers.kernel.ledger import connect
from workers.kernel.ledger.schema import NEWEST, is_current, upgrade
from workers.kernel.settings import load


@click.group()
def db() -> None:
    """Look after the ledger's database."""


@db.command(name="upgrade")
def upgrade_command() -> None:
    """Bring the ledger to the schema of this release; safe to run from several processes at once."""
    already = migrate(load().database_url.get_secret_value())
    click.echo(f"ledger at revision {NEWEST}" + (", nothing to do" if already else ""))


@db.command(name="recount")
def recount_command() -> None:
    """Add up all cases anew: what the console and the metrics show, where `prove` says that it is not so."""
    settings = load()
    require_ledger(settings)
    ledger = connect(settings.database_url.get_secret_value())
    ledger.recount()
    ledger.close()
    click.echo("all cases are added up anew")


def migrate(url: str) -> bool:
    """Bring a ledger to the schema of this release; tell whether it was there already."""
    ledger = connect(url)
    already = is_current(ledger.database)
    upgrade(ledger.database)
    ledger.close()
    return already
