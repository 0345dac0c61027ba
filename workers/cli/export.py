"""`metermend export`: one case as one file, for an auditor."""

from pathlib import Path

import click

from workers.cli.open_ledger import open_books
from workers.pipeline.audit.export import export as export_case


@click.command()
@click.argument("case")
@click.option("-o", "--out", "path", type=click.Path(dir_okay=False, path_type=Path), help="Default: CASE.tar.gz")
def export(case: str, path: Path | None) -> None:
    """Write everything about CASE into one tar.gz: its book, its events, its submissions and all its files.

    Records that wait for a person are in it as quarantined.csv and deferred.csv, beside their Parquet.
    """
    ledger, archive = open_books()
    into = path or Path(f"{case}.tar.gz")
    export_case(ledger, archive, case, into)
    click.echo(f"{into}: {into.stat().st_size:,} bytes")
    ledger.close()
