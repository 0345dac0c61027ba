"""From settings to a context: the only place that builds adapters. Each process builds its own, after any fork."""

import os
from functools import cache

from workers.alerts import Alerts, PrintedAlerts, SlackAlerts
from workers.archive import Archive
from workers.kernel import logs
from workers.kernel.clock import Clock, utc_now
from workers.kernel.jobqueue import RqJobQueue
from workers.kernel.ledger import Ledger, connect
from workers.kernel.objects import open_store
from workers.kernel.settings import Settings, load
from workers.pipeline.context import Context
from workers.remedies import Rules, load_rules
from workers.sources import StoredUsageSources
from workers.stripe_api import LiveStripeApi
from workers.targets import Target
from workers.targets.files import FileTarget
from workers.targets.meter_events import MeterEventsTarget


def context() -> Context:
    """Return a context for one piece of work, on this process's adapters and with an owner of its own.

    Raises SettingsUnusable.
    """
    return _renewed(_of_process(os.getpid()))


def build(settings: Settings, clock: Clock = utc_now) -> Context:
    """Build every adapter that the settings name; nothing is contacted yet. Raises SettingsUnusable."""
    stripe = LiveStripeApi(settings)
    ledger, archive = books(settings, clock)
    return Context(
        settings=settings,
        ledger=ledger,
        queue=RqJobQueue(settings.redis_url, job_timeout=settings.job_timeout),
        stripe=stripe,
        sources=StoredUsageSources(settings.usage_sources, settings.scratch_dir / "sources"),
        archive=archive,
        target=_folder(settings, clock) or _api(settings, stripe, clock),
        api_target=_api(settings, stripe, clock),
        alerts=_alerts(settings),
        rules=load_rules(settings.rules_file) if settings.rules_file else Rules(),
        clock=clock,
    )


def books(settings: Settings, clock: Clock = utc_now) -> tuple[Ledger, Archive]:
    """Return the ledger and the archive alone, for what needs neither Stripe nor Redis."""
    return connect(settings.database_url, clock), Archive(open_store(settings.archive_url), settings.scratch_dir)


def _folder(settings: Settings, clock: Clock) -> Target | None:
    if settings.submit_folder is None:
        return None
    return FileTarget(settings.submit_folder, pace_seconds=settings.submit_pace_seconds, clock=clock)


def _api(settings: Settings, stripe: LiveStripeApi, clock: Clock) -> Target | None:
    return MeterEventsTarget(stripe, clock) if settings.submits_by_api else None


def _alerts(settings: Settings) -> Alerts:
    url = settings.slack_webhook_url
    return SlackAlerts(url.get_secret_value()) if url else PrintedAlerts()


@cache
def _of_process(_pid: int) -> Context:
    settings = load()
    logs.configure(settings.log_format)
    return build(settings)


def _renewed(made: Context) -> Context:
    return Context(**{name: getattr(made, name) for name in made.__dataclass_fields__ if name != "owner"})
