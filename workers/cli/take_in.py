"""`metermend take-in`: take in a failed-records file that somebody has downloaded, as if Stripe had told of it."""

import getpass
from pathlib import Path

import click

from workers.cli.open_ledger import open_context
from workers.cli.paragraphs import paragraph, terminal_width
from workers.kernel.case_title import title_of
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.files import sha256_of
from workers.kernel.given_file import GivenFile, give
from workers.kernel.ledger.events import EventState
from workers.pipeline.context import Context
from workers.pipeline.run import process


@click.command("take-in")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--import-set", metavar="IMPSET", help="Of which import set it is, where you know.")
@click.option("--of", "imported_as", metavar="NAME", help="Name of the file that was uploaded; ours, or yours.")
@click.option("--account", metavar="ACCT", help="The connected account that it is of; your own by default.")
@click.option("--as", "actor", metavar="NAME", help="Who gives it; the login by default.")
def take_in(
    file: Path, import_set: str | None, imported_as: str | None, account: str | None, actor: str | None
) -> None:
    """Take in FILE, a list of failed records that you have downloaded from Stripe's Dashboard.

    It becomes the case that Stripe's event would open. Where the event comes as well, or the file is given again,
    nothing is taken in twice.
    """
    made = open_context()
    limit = made.settings.failed_records_max_bytes
    if file.stat().st_size > limit:
        raise InputUnusable(
            f"it has over {limit:,} bytes",
            where=str(file),
            mend="see FAILED_RECORDS_MAX_BYTES, or give it in parts",
        )
    given = GivenFile(sha256_of(file), file.name, actor or getpass.getuser(), account, import_set, imported_as)
    if give(made.ledger, given, file, made.archive.put, livemode=made.settings.livemode) is None:
        click.echo("it was given before, and nothing is taken in twice")
    else:
        _work_on(made, given.event_id)
    _tell(made, given.event_id)


def _work_on(made: Context, event_id: str) -> None:
    try:
        process(made, event_id)
    except Conflict:  # a worker was quicker; what is left to be seen is told below
        return


def _tell(made: Context, event_id: str) -> None:
    """Print what the file has led to. Raises InputUnusable where it could not be worked on."""
    event = made.ledger.events.get(event_id)
    assert event is not None, "it was stored"
    if event.state is EventState.FAILED:
        raise InputUnusable(event.reason or "it could not be worked on", mend=f"then give it again ({event_id})")
    click.echo(f"{event_id}: {event.state}{f' ({event.reason})' if event.reason else ''}")
    for one in made.ledger.event_list.led_to(event_id):
        case = made.ledger.cases.get(one.case_id)
        title = title_of(case, made.clock()) if case else ""
        click.echo("\n".join(paragraph(f"{one.case_id}: {title}", terminal_width(), hanging="  ")))
