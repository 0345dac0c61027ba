"""From settings to a context: the only place that builds adapters. Each process builds its own, after any fork."""

import os
from collections.abc import Collection
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from uuid import uuid4

from workers.alerts import Alerts, NextStep, PrintedAlerts, SlackAlerts, SlackBot
from workers.archive import Archive
from workers.kernel import logs
from workers.kernel.clock import Clock, utc_now
from workers.kernel.errors import InputUnusable, SettingsUnusable
from workers.kernel.jobqueue import RqJobQueue
from workers.kernel.ledger import Ledger, connect
from workers.kernel.places import DASHBOARD, METER_EVENT_STREAM, METRONOME, SERVICES, apis_in, is_table
from workers.kernel.settings import Settings, load
from workers.kernel.storage import open_store
from workers.pipeline.context import Context
from workers.pipeline.notify import trouble
from workers.remedies import Rules, RulesFile, load_rules
from workers.sources import (
    NOWHERE,
    JoinedUsageSources,
    StoredUsageSources,
    TableColumns,
    TableUsageSource,
    UsageSources,
)
from workers.stripe_api import LiveStripeApi
from workers.targets import Target
from workers.targets.dashboard import DashboardTarget
from workers.targets.files import FileTarget
from workers.targets.meter_event_stream import MeterEventStreamTarget
from workers.targets.meter_events import MeterEventsTarget
from workers.targets.metronome import MetronomeTarget
from workers.targets.metronome_api import MetronomeApi

_RULES_FAULT = "rules_fault"
"""The checkpoint of what was told last of a rules file that cannot be read."""


def context() -> Context:
    """Return a context for one piece of work: this process's adapters, the rules of now and an owner of its own.

    Raises SettingsUnusable.
    """
    made, rules_file = _of_process(os.getpid())
    return replace(made, owner=uuid4().hex, rules=rules_file.current() if rules_file else made.rules)


def build(settings: Settings, clock: Clock = utc_now) -> Context:
    """Build every adapter that the settings name; nothing is contacted yet. Raises SettingsUnusable."""
    stripe = LiveStripeApi(settings)
    ledger, archive = stores(settings, clock)
    cached = settings.scratch_dir / "sources"
    rules = load_rules(settings.rules_file) if settings.rules_file else Rules()
    sources = {account: _sources(named, cached, rules, clock) for account, named in settings.source_places.items()}
    targets = {
        account: _target(settings, stripe, clock, account, named)
        for account, named in settings.target_places.items()
    }
    apis = apis_in(settings.target_places)
    return Context(
        settings=settings,
        ledger=ledger,
        queue=RqJobQueue(settings.redis_url.get_secret_value(), job_timeout=settings.job_timeout),
        stripe=stripe,
        sources=sources.pop(None, NOWHERE),
        account_sources={account: found for account, found in sources.items() if account},
        archive=archive,
        target=targets.pop(None, None),
        account_targets={account: target for account, target in targets.items() if account},
        api_target=_api_target(apis, stripe, clock) if apis else None,
        given_folders=[
            (account, open_store(place)) for account, named in settings.given_places.items() for place in named
        ],
        alerts=alerts_of(settings),
        rules=rules,
        clock=clock,
    )


def stores(settings: Settings, clock: Clock = utc_now) -> tuple[Ledger, Archive]:
    """Return the ledger and the archive alone, for what needs neither Stripe nor Redis."""
    return connect(settings.database_url.get_secret_value(), clock), Archive(
        open_store(settings.archive_url), settings.scratch_dir
    )


def table_source(place: str, rules: Rules, clock: Clock = utc_now) -> TableUsageSource:
    """Return a table of usage, its columns named by the rules. Raises SettingsUnusable."""
    columns = {table: TableColumns(**dict(rule)) for table, rule in rules.sources.items()}
    return TableUsageSource(place, columns, clock=clock)


def _sources(named: tuple[str, ...], cached: Path, rules: Rules, clock: Clock) -> UsageSources:
    files = StoredUsageSources([place for place in named if not is_table(place)], cached)
    tables = [table_source(place, rules, clock) for place in named if is_table(place)]
    return JoinedUsageSources(files, tables) if tables else files


def alerts_of(settings: Settings) -> Alerts:
    """Return the way to a person: Slack by a bot, else by a webhook, else the terminal."""
    token, channel, webhook = settings.slack_bot_token, settings.slack_channel, settings.slack_webhook_url
    if token and channel:
        return SlackBot(token.get_secret_value(), channel)
    return SlackAlerts(webhook.get_secret_value()) if webhook else PrintedAlerts()


def _target(
    settings: Settings, stripe: LiveStripeApi, clock: Clock, account: str | None, named: tuple[str, ...]
) -> Target:
    """Return where an account's corrected usage goes: a folder, the Dashboard, or the service without either.

    Raises SettingsUnusable where it is Metronome, and no token is set.
    """
    if METRONOME in named:
        return MetronomeTarget(metronome_api(settings), partial(stripe.list_meters, None), clock)
    folder = next((place for place in named if place not in SERVICES), None)
    if folder is None:
        return _api_target(named, stripe, clock)
    if folder == DASHBOARD:
        return DashboardTarget()
    return FileTarget(folder, account=account, pace_seconds=settings.submit_pace_seconds, clock=clock)


def metronome_api(settings: Settings) -> MetronomeApi:
    """Return the way to Metronome. Raises SettingsUnusable when there is no token."""
    if settings.metronome_token is None:
        raise SettingsUnusable("no API token", where="METRONOME_TOKEN", mend="create one in Metronome")
    return MetronomeApi(settings.metronome_base, settings.metronome_token.get_secret_value())


def _api_target(named: Collection[str], stripe: LiveStripeApi, clock: Clock) -> Target:
    by_stream = METER_EVENT_STREAM in named
    return MeterEventStreamTarget(stripe, clock) if by_stream else MeterEventsTarget(stripe, clock)


@cache
def _of_process(_pid: int) -> tuple[Context, RulesFile | None]:
    settings = load()
    logs.configure(settings.log_format)
    made, path = build(settings), settings.rules_file
    return made, RulesFile(path, made.rules, partial(tell_of_rules, made)) if path else None


def tell_of_rules(context: Context, fault: InputUnusable | None) -> None:
    """Tell a person once, whichever process sees it first, that the rules file cannot be read any more."""
    said = str(fault) if fault else None
    if context.ledger.checkpoints.get(_RULES_FAULT) == said:
        return
    context.ledger.checkpoints.save(_RULES_FAULT, said)
    if said:
        step = NextStep(
            "Mend the file; the rules that could be read last stay in force until then.", "metermend doctor"
        )
        trouble(context, "rules", "the rules cannot be read", said, step)
