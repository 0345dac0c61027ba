"""What `metermend doctor` asks, each question by itself: one that fails keeps no other from being asked."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Final, Literal

from workers.alerts import SlackBot
from workers.alerts.slack_bot import API
from workers.bootstrap import table_source
from workers.cli.open_ledger import require_ledger
from workers.cli.processes import INSTALL_REDIS, redis_server
from workers.kernel.clock import to_text, utc_now
from workers.kernel.errors import InputUnusable, MetermendError, SettingsUnusable, Transient
from workers.kernel.jobqueue import RqJobQueue, shown_address
from workers.kernel.ledger import connect
from workers.kernel.ledger.rules import MadeRule
from workers.kernel.places import METER_EVENTS, Places, is_table
from workers.kernel.settings import DOTENV, Settings
from workers.kernel.settings_check import dotenv_names, problems
from workers.kernel.storage import open_store
from workers.kernel.storage.directory import DirectoryStore
from workers.remedies import Rules, load_rules
from workers.remedies.made_rules import contradictions
from workers.stripe_api import LiveStripeApi
from workers.stripe_api.errors import permission

Grade = Literal["ok", "note", "mend"]

MEANT: Final = {"STRIPE_SECRET_KEY": "STRIPE_API_KEY", "STRIPE_KEY": "STRIPE_API_KEY"}
"""Names that other tools use for what is a setting here."""
ALIKE: Final = 0.85
"""How much a name resembles a setting's, of 1, for it to be a slip."""


@dataclass(frozen=True)
class Check:
    """The answer to one question. `mend` says what to do when it is not well."""

    name: str
    found: str
    mend: str = ""
    grade: Grade = "ok"


class Noted(Exception):
    """What is asked for is not there, and need not be."""

    def __init__(self, what: str, mend: str = "") -> None:
        self.mend = mend
        super().__init__(what)


def checks(settings: Settings, faults: Sequence[SettingsUnusable]) -> Iterator[Check]:
    """Ask everything; `faults` are the settings that could not be read and stand at their defaults."""
    yield Check("Python", ".".join(map(str, sys.version_info[:3])))
    yield from (Check(fault.where, fault.what, fault.mend, "mend") for fault in faults)
    yield from misspelt({*os.environ, *dotenv_names(DOTENV)})
    wrong = {fault.where.removesuffix("_FILE") for fault in faults}
    for problem in problems(settings):
        if problem.setting not in wrong:
            yield Check(problem.setting, problem.what, problem.mend, "mend" if problem.fatal else "note")
    yield from _machine(settings)
    yield from _places(settings)
    yield _asked("alerts", lambda: _alerts(settings), "see SLACK_BOT_TOKEN", away="see the network")
    if settings.stripe_api_key:
        away = f"see the network, and STRIPE_API_BASE ({settings.stripe_api_base})"
        stripe = LiveStripeApi(settings)
        yield _asked("Stripe", lambda: _meters(settings, stripe), "see STRIPE_API_KEY", away=away)
        yield _asked("Stripe account", lambda: _own_account(stripe), "see STRIPE_API_KEY", away=away)


def misspelt(names: Iterable[str]) -> Iterator[Check]:
    """Yield a note for each name that nothing reads and that resembles a setting which is not set."""
    settings = {field.upper() for field in Settings.model_fields}
    readable = settings | {f"{name}_FILE" for name in settings}
    given = {name.upper() for name in names}
    unset = [name for name in readable if not {name, name.removesuffix("_FILE")} & given]
    for name in sorted(given - readable):
        close = get_close_matches(name, unset, n=1, cutoff=ALIKE)
        meant = MEANT.get(name) if MEANT.get(name) in unset else next(iter(close), None)
        if meant:
            yield Check(name, "is set, but nothing reads it", f"did you mean {meant}?", "note")


def _machine(settings: Settings) -> Iterator[Check]:
    program = redis_server()
    install = "" if program else f"{INSTALL_REDIS}, or set REDIS_URL"
    yield Check("Redis server here", _version(program) if program else "none", install, "ok" if program else "note")
    start = "start Redis, see REDIS_URL, or let `metermend serve` start one"
    yield _asked("Redis", lambda: _pinged(settings), start)
    yield _asked("ledger", lambda: require_ledger(settings), "start it, or see DATABASE_URL")


def _places(settings: Settings) -> Iterator[Check]:
    yield _asked("ARCHIVE_URL", lambda: _written(settings.archive_url), "see ARCHIVE_URL")
    for name, source in _named("USAGE_SOURCES", settings.source_places):
        question = partial(_table, source, settings.rules_file) if is_table(source) else partial(_there, source)
        yield _asked(name, question, "see USAGE_SOURCES")
    for name, folder in _named("SUBMIT_TO", settings.target_places):
        if folder != METER_EVENTS:
            yield _asked(name, partial(_written, folder), "s3://bucket/folder, file:///folder or meter-events")
    rules = settings.rules_file
    if rules:
        yield _asked("RULES_FILE", lambda: _readable_rules(rules, settings), "see RULES_FILE")


def _alerts(settings: Settings, slack: str = API) -> str:
    """Tell which way alerts go. A webhook cannot be asked without posting."""
    token, channel = settings.slack_bot_token, settings.slack_channel
    if token and channel:
        who = SlackBot(token.get_secret_value(), channel, api=slack).whoami()
        return f"Slack, as {who}, into {channel}; messages are changed in place"
    if settings.slack_webhook_url:
        return "Slack, by the incoming webhook"
    return "printed by the clock process; SLACK_WEBHOOK_URL or SLACK_BOT_TOKEN brings them to Slack"


def _named(setting: str, places: Places) -> Iterator[tuple[str, str]]:
    """Yield each place with the setting's name, and the account's where it is one's."""
    for account, named in places.items():
        yield from ((f"{setting} of {account}" if account else setting, place) for place in named)


def _asked(name: str, question: Callable[[], str], mend: str, *, away: str = "") -> Check:
    """Ask; an error's own advice comes first, then `away` for a far side that does not answer, then `mend`."""
    try:
        return Check(name, question())
    except Noted as note:
        mend = note.mend or f"nothing to do if that is the place you mean; else see {name}"
        return Check(name, str(note), mend, "note")
    except InputUnusable as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        return Check(name, what, error.mend or mend, "mend")
    except MetermendError as error:
        what, _, advice = str(error).partition(" - ")
        return Check(name, what, advice or (away if isinstance(error, Transient) else "") or mend, "mend")


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


def _require_writable(directory: Path, url: str) -> None:
    there = next(place for place in (directory, *directory.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SettingsUnusable(
            f"{url}: {there} is no directory that we may write to", mend="let us, or name another"
        )
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


def _own_account(stripe: LiveStripeApi) -> str:
    own = stripe.own_account()
    if own is None:
        raise Noted(
            "the key may not read its own account, so an event that names it is taken for a connected account's",
            f"allow it: {permission('/v1/account')}",
        )
    return own


def _meters(settings: Settings, stripe: LiveStripeApi) -> str:
    meters = stripe.list_meters(None)
    active = sum(meter.get("status") == "active" for meter in meters)
    return f"{'live' if settings.livemode else 'test'} mode, {active} active meters of {len(meters)}"
