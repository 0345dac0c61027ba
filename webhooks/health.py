"""Health: /healthz for whoever routes traffic, /readyz for whoever is on call, /metrics for Prometheus.

Route on /healthz: while Redis is away events are still taken, and while the ledger is away Stripe must hear 503
from us rather than nothing from a proxy. Watch /readyz.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from flask import Blueprint, Response, current_app, jsonify, make_response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from workers.kernel import metrics
from workers.kernel.errors import LedgerUnavailable, MetermendError
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.schema import is_current
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings
from workers.kernel.settings_check import problems

log = get_logger(__name__)
blueprint = Blueprint("health", __name__)

BACKLOG_LIMIT = timedelta(minutes=15)
"""An event that nobody has finished for longer means that no worker runs, or that one keeps failing."""


@dataclass(frozen=True)
class Health:
    """What is asked how it is; kept in the app's extensions."""

    ledger: Ledger
    queue: JobQueue
    degraded: Mapping[str, str] = field(default_factory=dict)
    """What the web does without, and what follows from it: it takes webhooks all the same."""

    def failing(self) -> list[str]:
        """Return the names of what does not work, and log why."""
        pings: Mapping[str, Callable[[], None]] = {
            "ledger": self._ledger,
            "redis": self.queue.ping,
            "backlog": self._backlog,
        }
        return [name for name, ping in pings.items() if not _answers(name, ping)]

    def _ledger(self) -> None:
        self.ledger.queries.ping()
        if not is_current(self.ledger.database):
            raise LedgerUnavailable("the ledger is not migrated: run metermend db upgrade")

    def _backlog(self) -> None:
        waited = self.ledger.queries.oldest_unprocessed()
        if waited > BACKLOG_LIMIT:
            raise MetermendError(f"the oldest event has waited {waited.total_seconds():.0f} s")


def degraded(settings: Settings) -> Mapping[str, str]:
    """Return what a web process runs without, setting by setting, and log it: events of either mode are stored."""
    found = {one.setting: one.what for one in problems(settings) if one.setting == "STRIPE_API_KEY"}
    for setting, what in found.items():
        log.warning("degraded", setting=setting, what=what)
    return found


def _answers(name: str, ping: Callable[[], None]) -> bool:
    try:
        ping()
    except MetermendError as error:
        log.warning("not_ready", failing=name, error=str(error))
        return False
    return True


class LedgerCollector(Collector):
    """Gauges that are read from the ledger when Prometheus asks, so that every process shows the same."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        try:
            return list(self._gauges())
        except LedgerUnavailable as error:
            log.warning("gauges_missing", error=str(error))
            return []

    def _gauges(self) -> Iterator[Metric]:
        queries = self._ledger.queries
        yield _gauge(metrics.EVENTS, "state", queries.event_counts())
        yield _gauge(metrics.CASES, "state", queries.case_counts())
        balance = queries.balance()
        tallies = {"failed": balance.failed} | {bucket.value: tally for bucket, tally in balance.buckets.items()}
        yield _gauge(metrics.RECORDS, "bucket", {name: tally.records for name, tally in tallies.items()})
        waited = queries.oldest_unprocessed().total_seconds()
        yield GaugeMetricFamily(metrics.OLDEST_UNPROCESSED.name, metrics.OLDEST_UNPROCESSED.help, value=waited)


def _gauge(described: metrics.Gauge, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(described.name, described.help, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def registry_of(ledger: Ledger) -> CollectorRegistry:
    """Return what /metrics shows: this process's counters, or all web processes' under gunicorn, and the gauges."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(metrics.REGISTRY)
    registry.register(LedgerCollector(ledger))
    return registry


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer 200 while the process runs."""
    return jsonify(alive=True)


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer 200 when all works, else 503 with the names of what does not; `degraded` says what is missing."""
    health: Health = current_app.extensions["health"]
    failing = health.failing()
    lacking = {"degraded": dict(health.degraded)} if health.degraded else {}
    return make_response(jsonify(ready=not failing, failing=failing, **lacking), 503 if failing else 200)


@blueprint.get("/metrics")
def show_metrics() -> Response:
    """Answer in Prometheus' text format."""
    health: Health = current_app.extensions["health"]
    return Response(generate_latest(registry_of(health.ledger)), content_type=CONTENT_TYPE_LATEST)
