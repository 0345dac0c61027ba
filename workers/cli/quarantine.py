"""`metermend quarantine`: the records of a case that wait for a person, as CSV."""

import shutil
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from workers.cli.open_ledger import open_stores
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.only_counted import unlocated
from workers.pipeline.audit.case_csv import write_csv
from workers.pipeline.context import Stores
from workers.remedies.codes import reasons


@click.command()
@click.argument("case")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def quarantine(case: str, out: Path | None) -> None:
    """Print the quarantined records of CASE as CSV: the sender's columns, then code, reason and suggestion.

    A cell that a spreadsheet would run as a formula begins with an apostrophe, which is not the sender's. Records
    that Stripe only counts have no row to print; how many they are is said on standard error.
    """
    ledger, archive = open_stores()
    if ledger.cases.get(case) is None:
        raise InputUnusable("there is no such case", where=case, mend="`metermend cases` lists them")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "quarantined.csv"
        there = write_csv(Stores(ledger, archive), case, Bucket.QUARANTINED, path)
        if there:
            _hand_over(path, out)
    _say_the_rest(ledger, case, there=there)
    ledger.close()


def _hand_over(path: Path, out: Path | None) -> None:
    if out is None and _is_terminal():
        with path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                click.echo(line, nl=False)  # as text, so that a record cannot steer the terminal
        return
    if out is None:
        with path.open("rb") as file:
            for some in iter(partial(file.read, 2**20), b""):
                click.echo(some, nl=False)
        return
    try:
        shutil.copyfile(path, out)
    except OSError as error:
        raise InputUnusable(f"cannot be written: {error.strerror}", where=str(out), mend="choose another") from None
    click.echo(f"{out}: {out.stat().st_size:,} bytes")


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _say_the_rest(ledger: Ledger, case: str, *, there: bool) -> None:
    known, counted = reasons(), unlocated(ledger.queries.entries(case))
    for reason, count in sorted(counted.items()):
        click.echo(f"{case}: {count:,} records are only counted ({reason}): they have no row to show", err=True)
        if reason in known:
            click.echo(f"  {known[reason].sentence} {known[reason].step}", err=True)
    if not there and not counted:
        click.echo(f"{case}: nothing is quarantined", err=True)
