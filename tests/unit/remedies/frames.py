"""Builders of records and their surroundings for the tests of the engine."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl

from workers.records.catalog import Catalog, Meter
from workers.records.schema import CODE, ROW, SOURCE, TEMPLATE_COLUMNS

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EPOCH_NOW = 1_795_262_400

GOOD: Mapping[str, str | None] = {
    "identifier": "id-1",
    "timestamp": str(EPOCH_NOW - 3600),
    "event_name": "api_calls",
    "payload_stripe_customer_id": "cus_known",
    "payload_value": "5",
}

CATALOG = Catalog(meters=(Meter("api_calls"),), customers=pl.Series(["cus_known", "cus_other"]))


def records(rows: Sequence[Mapping[str, str | None]], source: str = "usage.csv") -> pl.DataFrame:
    """Return a canonical frame of the rows, numbered from 1; `@code` may be among their keys."""
    columns = dict.fromkeys([*TEMPLATE_COLUMNS, *(name for row in rows for name in row), CODE])
    data = {name: [row.get(name) for row in rows] for name in columns}
    frame = pl.DataFrame(data, schema=dict.fromkeys(columns, pl.String))
    return frame.with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW), pl.lit(source).alias(SOURCE)
    )


def good(**changes: str | None) -> dict[str, str | None]:
    """Return a sound record with some fields changed."""
    return {**GOOD, **changes}
