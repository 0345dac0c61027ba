"""What `metermend doctor` asks, each question by itself: one that fails keeps no other from being asked."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from workers.bootstrap import metronome_api, table_source
from workers.cli.doctor_check import Check, Noted, asked
from workers.cli.doctor_oidc import provider_found
from workers.cli.doctor_slack import alerts_way
from workers.cli.doctor_slips import misspelt
from workers.cli.doctor_stripe import stripe_checks
from workers.cli.open_ledger import require_ledger
from workers.cli.processes import INSTALL_REDIS, redis_server
from workers.kernel.clock import to_text, utc_now
from workers.kernel.errors import LedgerUnavailable, MetermendError, SettingsUnusable
from workers.kernel.jobqueue import RqJobQueue
from workers.kernel.ledger import connect
from workers.kernel.ledger.rules import MadeRule
from workers.kernel.places import DASHBOARD, METRONOME, SERVICES, Places, is_table
from workers.kernel.redis_address import shown_address
from workers.kernel.service_health import LEAST_FREE, faults
from workers.kernel.settings import DOTENV, MIB, Settings
from workers.kernel.settings_check import dotenv_names, problems
from workers.kernel.storage import open_store
from workers.kernel.storage.directory import DirectoryStore
from workers.remedies import Rules, load_rules
from workers.remedies.made_rules import contradictions

_OIDC_AWAY: Final = "see the network, and OIDC_ISSUER; passwords go on"
_METRONOME_AWAY: Final = "see the network, and METRONOME_BASE"


def checks(settings: Settings, faults: Sequence[SettingsUnusable]) -> Iterator[Check]:
    """Ask everything; `faults` are the settings that could not be read and stand at their defaults."""
    yield Check("Python", ".".join(map(str, sys.version_info[:3])))
    yield from (Check(fault.where, fault.what, fault.mend, "mend") for fault in faults)
    yield from misspelt({*(name for name, value in os.environ.items() if value), *dotenv_names(DOTENV)})
    wrong = {fault.where.removesuffix("_FILE") for fault in faults}
    told = set()
    for problem in problems(settings):
        if problem.setting not in wrong:
            told.add(problem.setting)
            yield Check(problem.setting, problem.what, problem.mend, "mend" if problem.fatal else "note")
    yield from _machine(settings)
    yield from _places(settings)
    if "SLACK_WEBHOOK_URL" not in told:
        yield asked("alerts", lambda: alerts_way(settings), "see SLACK_BOT_TOKEN")
    issuer = settings.oidc_issuer
    if issuer and "OIDC_ISSUER" not in told:
        yield asked("OIDC_ISSUER", lambda: provider_found(issuer), "see OIDC_ISSUER", away=_OIDC_AWAY)
    if settings.stripe_api_key and "STRIPE_API_KEY" not in told:
        yield from stripe_checks(settings)


def _machine(settings: Settings) -> Iterator[Check]:
    program = redis_server()
    install = "" if program else f"{INSTALL_REDIS}, or set REDIS_URL"
    yield Check("Redis server here", _version(program) if program else "none", install, "ok" if program else "note")
    start = "start Redis, see REDIS_URL, or let `metermend serve` start one"
    yield asked("Redis", lambda: _pinged(settings), start)
    ledger = asked("ledger", lambda: require_ledger(settings), "start it, or see DATABASE_URL")
    yield ledger
    if ledger.grade == "ok":
        yield from _lived(settings)


def _lived(settings: Settings) -> Iterator[Check]:
    """Tell what the ledger shows of the service as it runs: of another mode, or with parts that are dead."""
    ledger = connect(settings.database_url.get_secret_value())
    try:
        live = ledger.queries.newest_livemode()
        if settings.livemode is not None and live is not None and live != settings.livemode:
            theirs, ours = ("live", "test") if live else ("test", "live")
            what = f"is a {ours} key, and the last event that arrived is of {theirs} mode"
            yield Check("STRIPE_API_KEY", what, f"give the {theirs} key, or add the {ours} destinations", "mend")
        for part, fault in faults(ledger, settings, utc_now()).items():
            if fault:
                mend = f"{fault.mend} ({fault.command})"
                yield Check(part, f"{fault.headline}. {fault.detail}", mend, "note")
    except LedgerUnavailable as error:
        yield Check("ledger", str(error), "start it, or see DATABASE_URL", "mend")
    finally:
        ledger.close()


def _places(settings: Settings) -> Iterator[Check]:
    yield asked("SCRATCH_DIR", lambda: _written(str(settings.scratch_dir)), "see SCRATCH_DIR")
    yield asked("ARCHIVE_URL", lambda: _written(settings.archive_url), "see ARCHIVE_URL")
    for name, source in _named("USAGE_SOURCES", settings.source_places):
        question = partial(_table, source, settings.rules_file) if is_table(source) else partial(_there, source)
        yield asked(name, question, "see USAGE_SOURCES")
    for name, folder in _named("SUBMIT_TO", settings.target_places):
        if folder not in {*SERVICES, DASHBOARD}:
            yield asked(name, partial(_written, folder), "see SUBMIT_TO")
        if folder == METRONOME and settings.metronome_token:
            yield asked("Metronome", lambda: _metronome(settings), "see METRONOME_TOKEN", away=_METRONOME_AWAY)
    for name, folder in _named("FAILED_RECORDS_FOLDER", settings.given_places):
        yield asked(name, partial(_there, folder), "see FAILED_RECORDS_FOLDER")
    rules = settings.rules_file
    if rules:
        yield asked("RULES_FILE", lambda: _readable_rules(rules, settings), "see RULES_FILE")


def _named(setting: str, places: Places) -> Iterator[tuple[str, str]]:
    """Yield each place with the setting's name, and the account's where it is one's."""
    for account, named in places.items():
        yield from ((f"{setting} of {account}" if account else setting, place) for place in named)


def _version(program: str) -> str:
    """Return a Redis server's program with what it says of its version."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = re.search(r"v=([\w.-]+)", said)
    return f"{program}, version {found[1] if found else 'unknown'}"


def _pinged(settings: Settings) -> str:
    address = settings.redis_url.get_secret_value()
    queue = RqJobQueue(address, job_timeout=settings.job_timeout)
    return f"{shown_address(address)}, version {queue.version()}"


def _there(url: str) -> str:
    """Look into a place that must be there already; nobody else will make it."""
    store = open_store(url)
    if isinstance(store, DirectoryStore) and not Path(store.url).is_dir():
        raise SettingsUnusable(f"{url} does not exist, or is no directory", mend="name a directory that is there")
    return url if next(iter(store.list()), None) else f"{url} (nothing lies in it)"


def _table(place: str, rules_file: Path | None) -> str:
    """Look into a table of usage, whose columns the rules name."""
    source = table_source(place, load_rules(rules_file) if rules_file else Rules())
    newest = source.newest()
    if newest is None:
        raise Noted(f"{source.location} (no row is in it)")
    if newest > utc_now() + timedelta(days=1):
        raise SettingsUnusable(
            f"its last row was written in {newest.year}, it says", where=source.location,
            mend="name a watermark in epoch seconds, or a timestamptz",
        )  # fmt: skip
    return f"{source.location}, last written at {to_text(newest)}"


def _written(url: str) -> str:
    """Look into a place that is written to; a directory that is missing is made at the first need."""
    store = open_store(url)
    if isinstance(store, DirectoryStore):
        _require_writable(Path(store.url), url)
    next(iter(store.list()), None)
    return url


def _metronome(settings: Settings) -> str:
    """Search for an event that nobody has sent: it takes a token that may be used, and changes nothing."""
    api = metronome_api(settings)
    try:
        api.search(["metermend-doctor"])
    finally:
        api.close()
    if settings.livemode is False:
        what = "the token may search; STRIPE_API_KEY is a test key, and the token may be of no sandbox"
        raise Noted(what, "see in Metronome that it is: else test usage is billed")
    return f"{settings.metronome_base}, the token may search"


def _require_writable(directory: Path, url: str) -> None:
    """Write a file and remove it: what the permissions say is not all, as on a disk that is mounted read-only."""
    there = next(place for place in (directory, *directory.parents) if place.exists())
    try:
        with TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        what = f"{url}: {there} is no directory that we may write to ({error.strerror})"
        raise SettingsUnusable(what, mend="let us, or name another") from None
    if free < LEAST_FREE:
        what = f"{url}: only {free // MIB} MiB are free, and {LEAST_FREE // MIB} are needed"
        raise SettingsUnusable(what, mend="free space there, or name a place on another disk")
    if there != directory:
        raise Noted(f"{url} does not exist yet; it is made when first written to")


def _readable_rules(path: Path, settings: Settings) -> str:
    """Read the rules, and note where people have said otherwise by `metermend map`."""
    file = load_rules(path)
    otherwise = list(contradictions(file, _made_rules(settings)))
    if otherwise:
        keys = ", ".join(one.rule.key for one in otherwise)
        raise Noted(f"{path} says otherwise than people have since: {keys}", "metermend rules list")
    return str(path)


def _made_rules(settings: Settings) -> Sequence[MadeRule]:
    """Return the rules in force; none while there is no ledger, which another question tells."""
    try:
        require_ledger(settings)
        ledger = connect(settings.database_url.get_secret_value())
    except MetermendError:
        return ()
    try:
        return ledger.rules.in_force()
    finally:
        ledger.close()
