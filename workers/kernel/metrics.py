"""Every metric that the service publishes. A metric that is not listed here does not exist."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()

WEBHOOKS = Counter(
    "metermend_webhooks",
    "Webhook posts by answer: received, duplicate, ignored or the refusal's slug.",
    ["answer"],
    registry=REGISTRY,
)
WEBHOOK_SECONDS = Histogram(
    "metermend_webhook_seconds",
    "Seconds from the first byte to the answer.",
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
ENQUEUE_FAILURES = Counter(
    "metermend_enqueue_failures",
    "Events stored while Redis was away; the sweeper takes them up.",
    registry=REGISTRY,
)


@dataclass(frozen=True)
class Gauge:
    """A number that is read from the ledger whenever /metrics is asked, so no process has to keep it."""

    name: str
    help: str


COMPONENT_UP = Gauge("metermend_component_up", "Whether a part of the service works, 1 or 0, by component.")
EVENTS = Gauge("metermend_events", "Events by state.")
CASES = Gauge("metermend_cases", "Cases by state.")
RECORDS = Gauge("metermend_records", "Refused records by the bucket of the ledger that they stand in.")
FOUND = Gauge("metermend_records_found", "Refused records by how their rows are known.")
UNCONFIRMED = Gauge(
    "metermend_unconfirmed_records",
    "Records in flight that have not shown in Stripe's totals by CONFIRMATION_DEADLINE.",
)
DISK_FREE = Gauge("metermend_disk_free_bytes", "Bytes that are free where the web writes, by folder.")
OLDEST_UNPROCESSED = Gauge("metermend_oldest_unprocessed_seconds", "How long the longest-waiting event has waited.")
