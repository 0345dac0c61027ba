"""`metermend doctor`: is everything there that the service needs, and if not, what to do."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import structlog
from rich.console import Console
from rich.text import Text

from workers.cli.doctor_check import Check
from workers.cli.doctor_checks import checks
from workers.kernel import terminal
from workers.kernel.settings import read

MARKS = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "mend": ("MEND", "red")}


@click.command()
def doctor() -> None:
    """Check the settings, and everything that they name. Exits with 2 when the service could not run."""
    settings, faults = read()
    console = terminal.console(highlight=False)
    fatal = False
    with _quiet():
        for check in checks(settings, faults):
            _print(console, check)
            fatal = fatal or check.grade == "mend"
    if fatal:
        sys.exit(2)


def _print(console: Console, check: Check) -> None:
    console.print(Text.assemble(MARKS[check.grade], " ", (check.name, "bold"), f": {check.found}"), soft_wrap=True)
    if check.mend:
        console.print(Text(f"     -> {check.mend}"), soft_wrap=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the logs of what is asked out of the answers: each failure becomes a line of its own."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)
