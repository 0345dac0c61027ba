"""Health: /healthz for whoever routes traffic, /readyz for whoever is on call, /metrics for Prometheus.

Route on /healthz: while Redis is away events are still taken, and while the ledger is away Stripe must hear 503
from us rather than nothing from a proxy. Watch /readyz.
"""

import hmac
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import gevent
from flask import Blueprint, Response, current_app, jsonify, make_response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from webhooks.checks import Checks
from webhooks.metric_files import FOLDER, NO_ROOM
from workers.kernel import metrics
from workers.kernel.clock import Clock, utc_now
from workers.kernel.errors import LedgerUnavailable, MetermendError
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.database import sqlite_file
from workers.kernel.ledger.schema import is_current
from workers.kernel.ledger.unconfirmed import unconfirmed_records
from workers.kernel.logs import get_logger
from workers.kernel.service_health import LEAST_FREE, Fault, faults
from workers.kernel.settings import MIB, Settings
from workers.kernel.settings_check import problems

log = get_logger(__name__)
blueprint = Blueprint("health", __name__)

BACKLOG_LIMIT = timedelta(minutes=15)
"""An event that nobody has finished for longer means that no worker runs, or that one keeps failing."""

NO_TIME: Final = timedelta(0)


class Health:
    """What is asked how it is; kept in the app's extensions.

    `degraded` is what the web does without, and what follows from it: it takes webhooks all the same. `places` are
    the local folders that must not run full, `token` is what a scraper has to send, if anything.
    """

    def __init__(self, settings: Settings, ledger: Ledger, queue: JobQueue, clock: Clock = utc_now) -> None:
        self._settings = settings
        self._clock = clock
        self.ledger = ledger
        self.degraded = degraded(settings)
        self.places = local_places(settings)
        self.free: Mapping[str, int] = {}
        self.token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
        self.checks = Checks(
            {"ledger": self._ledger, "redis": queue.ping, "backlog": self._backlog, "disk": self._disk}
        )
        self.parts: Mapping[str, Fault | None] = {}
        self.watched = Checks({"parts": self._parts})

    def _ledger(self) -> None:
        """Raise LedgerUnavailable unless the ledger is migrated, and can be written to as well."""
        if not is_current(self.ledger.database):
            raise LedgerUnavailable("the ledger is not migrated: run metermend db upgrade")
        self.ledger.sessions.open(NO_TIME)

    def _backlog(self) -> None:
        waited = self.ledger.queries.oldest_unprocessed()
        if waited > BACKLOG_LIMIT:
            raise MetermendError(f"the oldest event has waited {waited.total_seconds():.0f} s")

    def _parts(self) -> None:
        self.parts = faults(self.ledger, self._settings, self._clock())

    def components(self) -> Mapping[str, str]:
        """Return `ok`, `failing` or `degraded` for each part, as far as the ledger can be asked."""
        found, parts = self.checks.look(), self._known_parts()
        own = {name: "failing" if name in found.failing else "ok" for name in found.ages}
        return own | {name: "degraded" if fault else "ok" for name, fault in parts.items()}

    def lacking(self) -> Mapping[str, str]:
        """Return what is degraded, and what is wrong with it."""
        broken = {name: fault.headline for name, fault in self._known_parts().items() if fault}
        return {**self.degraded, **broken}

    def _known_parts(self) -> Mapping[str, Fault | None]:
        return {} if self.watched.look().failing else self.parts

    def _disk(self) -> None:
        """Look in a thread of its own: a disk that hangs would stop every greenlet."""
        try:
            self.free = gevent.get_hub().threadpool.apply(free_bytes, (self.places,))
        except OSError as error:
            raise MetermendError(f"a folder cannot be looked at: {error}") from error
        for place, free in self.free.items():
            if free < LEAST_FREE:
                raise MetermendError(f"{free / MIB:.0f} MiB are free at {place}")


def degraded(settings: Settings) -> Mapping[str, str]:
    """Return what a web process runs without, setting by setting, and log it: events of either mode are stored."""
    found = {one.setting: one.what for one in problems(settings) if one.setting == "STRIPE_API_KEY"}
    if NO_ROOM in os.environ:
        found["METRICS"] = "no room for the counters of several processes: /metrics shows this one's alone"
    for setting, what in found.items():
        log.warning("degraded", setting=setting, what=what)
    return found


def local_places(settings: Settings) -> list[Path]:
    """Return the folders of this machine that the settings write to."""
    file = sqlite_file(settings.database_url.get_secret_value())
    ledger = [file.parent] if file else []
    archive_url = settings.archive_url.removeprefix("file://")
    archive = [] if "://" in archive_url else [Path(archive_url)]
    return [*ledger, *archive, settings.scratch_dir]


def free_bytes(places: Collection[Path]) -> Mapping[str, int]:
    """Return how much room is left for each folder, in bytes; one that is not there yet is looked for above."""
    there = {
        str(place): next(folder for folder in (place, *place.absolute().parents) if folder.exists())
        for place in places
    }
    return {place: shutil.disk_usage(folder).free for place, folder in there.items()}


class Gauges(Collector):
    """What is read when Prometheus asks, from the ledger and the disk, so that every process shows the same."""

    def __init__(self, health: Health) -> None:
        self._ledger, self._health = health.ledger, health

    def collect(self) -> Iterable[Metric]:
        up = {name: float(word == "ok") for name, word in self._health.components().items()}
        without_ledger = [
            _gauge(metrics.COMPONENT_UP, "component", up),
            _gauge(metrics.DISK_FREE, "place", self._health.free),
        ]
        try:
            return [*without_ledger, *self._gauges()]
        except LedgerUnavailable as error:
            log.warning("gauges_missing", error=str(error))
            return without_ledger

    def _gauges(self) -> Iterator[Metric]:
        queries = self._ledger.queries
        yield _gauge(metrics.EVENTS, "state", queries.event_counts())
        totals = self._ledger.totals.of_all()
        yield _gauge(metrics.CASES, "state", totals.states)
        balance = totals.balance
        tallies = {"failed": balance.failed} | {bucket.value: tally for bucket, tally in balance.buckets.items()}
        yield _gauge(metrics.RECORDS, "bucket", {name: tally.records for name, tally in tallies.items()})
        yield _gauge(metrics.FOUND, "how", balance.found)
        yield _number(metrics.UNCONFIRMED, unconfirmed_records(self._ledger.database))
        yield _number(metrics.OLDEST_UNPROCESSED, queries.oldest_unprocessed().total_seconds())


def _number(described: metrics.Gauge, value: float) -> Metric:
    return GaugeMetricFamily(described.name, described.help, value=value)


def _gauge(described: metrics.Gauge, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(described.name, described.help, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def registry_of(health: Health) -> CollectorRegistry:
    """Return what /metrics shows: this process's counters, or all web processes' under gunicorn, and the gauges."""
    registry = CollectorRegistry()
    if FOLDER in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(metrics.REGISTRY)
    registry.register(Gauges(health))
    return registry


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer 200 while the process runs."""
    return jsonify(alive=True)


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer 200 when all works, else 503 with the names of what does not, and how old each finding is, in seconds.

    `degraded` says what is missing or dead that the web does without; `components` has a word for each part.
    """
    health: Health = current_app.extensions["health"]
    found, lacking = health.checks.look(), health.lacking()
    answer = jsonify(
        ready=not found.failing,
        failing=found.failing,
        age_seconds=dict(found.ages),
        components=dict(health.components()),
        **({"degraded": dict(lacking)} if lacking else {}),
    )
    return make_response(answer, 503 if found.failing else 200)


@blueprint.get("/metrics")
def show_metrics() -> Response:
    """Answer in Prometheus' text format; 401 to whoever does not send the token that is set."""
    health: Health = current_app.extensions["health"]
    if health.token is not None and not _sends(health.token):
        return Response(status=401, headers={"WWW-Authenticate": "Bearer"})
    return Response(generate_latest(registry_of(health)), content_type=CONTENT_TYPE_LATEST)


def _sends(token: str) -> bool:
    kind, _, sent = request.headers.get("Authorization", "").partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())
