"""A meter, rows of its sender's, and a Stripe that has counted some of them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from tests.recording import RecordingStripeApi
from workers.pipeline.context import Context
from workers.records.catalog import Meter
from workers.records.schema import EVENT_NAME, IDENTIFIER, TIMESTAMP, WRITTEN, dtype_of, empty_frame
from workers.stripe_api import Summary

METER: dict[str, Any] = {
    "id": "mtr_1",
    "event_name": "api_calls",
    "status": "active",
    "default_aggregation": {"formula": "sum"},
    "customer_mapping": {"event_payload_key": "stripe_customer_id"},
    "value_settings": {"event_payload_key": "value"},
    "event_time_window": None,
}
DAY = datetime(2026, 11, 18, tzinfo=UTC)
LONG_AGO = DAY + timedelta(days=1)


def a_row(identifier: str | None, value: str, **changes: Any) -> dict[str, Any]:
    """A row of the morning of `DAY`, of `cus_1`, in a file that was written the day after."""
    return {
        IDENTIFIER: identifier,
        TIMESTAMP: str(int(DAY.timestamp()) + 36_000),
        EVENT_NAME: "api_calls",
        "payload_stripe_customer_id": "cus_1",
        "payload_value": value,
        "@source": "usage.csv",
        WRITTEN: LONG_AGO,
        **changes,
    }


def a_frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The rows as a canonical frame, numbered in their order."""
    numbered = [{"@row": number, **row} for number, row in enumerate(rows, 1)]
    columns = [*empty_frame().columns, "payload_stripe_customer_id", "payload_value", WRITTEN]
    return pl.DataFrame(numbered, schema={name: dtype_of(name) for name in columns})


def stripe_counts(context: Context, totals: Iterable[tuple[str, datetime, str]]) -> RecordingStripeApi:
    """Let Stripe know the meter and these customers, with the totals of their days."""
    stripe = context.stripe
    assert isinstance(stripe, RecordingStripeApi)
    stripe.meters = [METER]
    stripe.customers = [{"id": customer} for customer in ("cus_1", "cus_2")]
    for customer, day, value in totals:
        total = Summary(day, day + timedelta(days=1), Decimal(value))
        stripe.summaries.setdefault(("mtr_1", customer), []).append(total)
    return stripe


def the_meter(**changes: Any) -> Meter:
    return Meter.from_stripe({**METER, **changes})
