"""What is known of the Stripe account: its meters, its customers, and what a metadata search found.

Nothing is known by default, and what is unknown is never held against a record: without meters no rule that hangs
on a meter is checked, without customers no customer is called unknown.

Sources: stripe-python's `billing.Meter`; Stripe docs, "Record usage for billing" (one event name, one meter).
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.records.files.decode import read_named
from workers.records.quantities import bare_text
from workers.records.schema import CUSTOMER, EVENT_NAME, VALUE, payload_column, with_columns_of

METER_STATUS: Final = "@meter_status"
CUSTOMER_COLUMN: Final = "@customer_column"
VALUE_COLUMN: Final = "@value_column"
CUSTOMER_ID: Final = "@customer"
VALUE_TEXT: Final = "@value"
"""Columns that `Catalog.resolve` adds: the meter's status, which columns it reads, and what stands in them."""
RESOLVED: Final = (METER_STATUS, CUSTOMER_COLUMN, VALUE_COLUMN, CUSTOMER_ID, VALUE_TEXT)


WINDOW_SECONDS: Final = {"hour": 3_600, "day": 86_400}
"""How long the windows of pre-aggregated meters are, by `event_time_window`."""
_NO_ID: Final = re.compile(r"""[\s,;"']""")
_SEED: Final = secrets.randbits(64)
"""Nobody can choose an id for the hash that it has: that of another one's customer."""
_WORTH_SEARCHING: Final = 20
"""From so many rows of the table per record on, searching is quicker than going through it."""


def folded(name: pl.Expr) -> pl.Expr:
    """Return an event name without what people write differently: blanks around it, case, and `-`, `_`, space."""
    return bare_text(name).str.to_lowercase().str.replace_all(r"[-_\s]+", "_")


def folded_text(name: str) -> str:
    """Do what `folded` does to one name."""
    return str(pl.select(folded(pl.lit(name))).item())


@dataclass(frozen=True)
class Meter:
    """A Stripe billing meter, as far as records are judged by it. The columns are those of the canonical frame."""

    event_name: str
    active: bool = True
    id: str = ""
    customer_column: str = CUSTOMER
    value_column: str = VALUE
    formula: str = "sum"
    event_time_window: str | None = None
    dimensions: tuple[str, ...] | None = None
    """Columns of the dimension keys; null when Stripe's answer does not tell them."""

    @property
    def window_seconds(self) -> int:
        """How long its windows are; 0 where it is not pre-aggregated."""
        return WINDOW_SECONDS.get(self.event_time_window or "", 0)

    @classmethod
    def from_stripe(cls, meter: Mapping[str, Any]) -> "Meter":
        """Build from Stripe's meter object. Raises InputUnusable when it is none."""
        name = meter.get("event_name")
        if not isinstance(name, str) or not name.strip():
            raise InputUnusable(
                "a meter has no event_name", mend="give Stripe's meter objects as the API returns them"
            )
        keys = meter.get("dimension_payload_keys")
        return cls(
            event_name=name,
            active=meter.get("status", "active") == "active",
            id=str(meter.get("id", "")),
            customer_column=payload_column(_key(meter, "customer_mapping", "stripe_customer_id")),
            value_column=payload_column(_key(meter, "value_settings", "value")),
            formula=str((meter.get("default_aggregation") or {}).get("formula", "sum")),
            event_time_window=meter.get("event_time_window"),
            dimensions=None if keys is None else tuple(payload_column(str(key)) for key in keys),
        )


@dataclass(frozen=True, eq=False)
class Catalog:
    """Meters, known customers and metadata hits. `None` means unknown, an empty collection means there are none.

    `live` says that it was fetched from Stripe for this very plan, after the refusal: only then can it show that
    the cause of a refusal has gone. A file on disk may be older than the refusal that it would explain away.
    """

    meters: tuple[Meter, ...] | None = None
    customers: pl.Series | None = None
    metadata_hits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    live: bool = False

    @cached_property
    def by_event_name(self) -> Mapping[str, Meter]:
        """The meter of each event name; an active one before an archived one of the same name."""
        ranked = sorted(self.meters or (), key=lambda meter: meter.active)
        return {meter.event_name: meter for meter in ranked}

    @property
    def active(self) -> tuple[Meter, ...]:
        """The meters that take records."""
        return tuple(meter for meter in self.by_event_name.values() if meter.active)

    @property
    def windowed(self) -> tuple[Meter, ...]:
        """Those of them that are pre-aggregated."""
        return tuple(meter for meter in self.active if meter.window_seconds)

    @cached_property
    def known_customers(self) -> pl.DataFrame | None:
        """The known ids as one distinct, sorted column, to be joined with; null when unknown."""
        if self.customers is None:
            return None
        return self.customers.cast(pl.String).drop_nulls().unique().sort().alias(CUSTOMER_ID).to_frame()

    @cached_property
    def known_hashes(self) -> pl.Series | None:
        """The hashes of the known ids, for `is_among`; null when unknown."""
        known = self.known_customers
        return None if known is None else known.select(text_hash(pl.col(CUSTOMER_ID))).to_series()

    @cached_property
    def customer_columns(self) -> tuple[str, ...]:
        """Every column that a meter reads the customer from, the default first."""
        meters = self.by_event_name.values()
        return tuple(dict.fromkeys((CUSTOMER, *(meter.customer_column for meter in meters))))

    @cached_property
    def value_columns(self) -> tuple[str, ...]:
        """Every column that a meter reads the quantity from, the default first."""
        meters = self.by_event_name.values()
        return tuple(dict.fromkeys((VALUE, *(meter.value_column for meter in meters))))

    @cached_property
    def meter_table(self) -> pl.DataFrame:
        """One row per event name: its meter's status and columns, to be joined with."""
        meters = self.by_event_name.values()
        columns = {
            EVENT_NAME: [meter.event_name for meter in meters],
            METER_STATUS: ["active" if meter.active else "inactive" for meter in meters],
            CUSTOMER_COLUMN: [meter.customer_column for meter in meters],
            VALUE_COLUMN: [meter.value_column for meter in meters],
        }
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))

    @cached_property
    def with_dimensions(self) -> tuple[Meter, ...]:
        """The meters whose dimension keys are known and not empty."""
        return tuple(meter for meter in self.by_event_name.values() if meter.dimensions)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Every column that a meter reads."""
        return (*self.customer_columns, *self.value_columns)

    def keyed(self) -> tuple[pl.Expr, pl.Expr]:
        """Return `CUSTOMER_ID` and `VALUE_TEXT` of each record, without what `resolve` tells of its meter."""
        customer, value = pl.col(CUSTOMER), pl.col(VALUE)
        for meter in self.by_event_name.values():
            if (meter.customer_column, meter.value_column) != (CUSTOMER, VALUE):
                own = pl.col(EVENT_NAME) == meter.event_name
                customer = pl.when(own).then(meter.customer_column).otherwise(customer)
                value = pl.when(own).then(meter.value_column).otherwise(value)
        return customer.alias(CUSTOMER_ID), value.alias(VALUE_TEXT)

    def resolve(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add `RESOLVED` to the records: what their meter is and what stands under its keys.

        A record without a known meter is read by Stripe's default keys. Missing columns are added as nulls.
        """
        frame = with_columns_of(frame.drop(RESOLVED, strict=False), self.key_columns)
        joined = frame.join(self.meter_table, on=EVENT_NAME, how="left", maintain_order="left")
        keyed = joined.with_columns(
            pl.col(CUSTOMER_COLUMN).fill_null(CUSTOMER), pl.col(VALUE_COLUMN).fill_null(VALUE)
        )
        return keyed.with_columns(
            _chosen(CUSTOMER_COLUMN, self.customer_columns).alias(CUSTOMER_ID),
            _chosen(VALUE_COLUMN, self.value_columns).alias(VALUE_TEXT),
        )

    def write_back(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Put `CUSTOMER_ID` and `VALUE_TEXT` back into the columns that the record's meter reads."""
        return frame.with_columns(
            *_returned(CUSTOMER_ID, CUSTOMER_COLUMN, self.customer_columns),
            *_returned(VALUE_TEXT, VALUE_COLUMN, self.value_columns),
        )


def load_meters(path: Path) -> tuple[Meter, ...]:
    """Read a JSON list of Stripe meter objects, or Stripe's whole `{"data": [...]}`. Raises InputUnusable."""
    try:
        document = json.loads(read_named(path))
    except (ValueError, RecursionError) as error:
        raise InputUnusable(f"no JSON list of meters ({error})", where=str(path)) from error
    if isinstance(document, dict) and document.get("has_more"):
        raise InputUnusable("the list goes on (has_more)", where=str(path), mend="save all meters as one JSON list")
    meters = document.get("data") if isinstance(document, dict) else document
    if not isinstance(meters, list) or not all(isinstance(meter, dict) for meter in meters):
        raise InputUnusable(
            "no JSON list of meters", where=str(path), mend="save the answer of GET /v1/billing/meters"
        )
    try:
        return tuple(Meter.from_stripe(meter) for meter in meters)
    except InputUnusable as error:
        raise InputUnusable(error.what, where=str(path), mend=error.mend) from error


def load_customers(path: Path) -> pl.Series:
    """Read known customer ids, one a line; blank lines do not count.

    Raises InputUnusable, also for a CSV and for no id at all: each of the sender's customers would seem unknown.
    """
    ids = [line for line in map(str.strip, read_named(path).splitlines()) if line]
    mend = "list the ids (cus_...) alone, one a line"
    if _NO_ID.search("".join(ids)):  # to look at each id takes ten times as long
        number, odd = next((number, line) for number, line in enumerate(ids, 1) if _NO_ID.search(line))
        raise InputUnusable(f"id {number} is no id: {odd[:40]!r}", where=str(path), mend=mend)
    if not ids:
        raise InputUnusable("it holds no customer id", where=str(path), mend=mend)
    return pl.Series(CUSTOMER_ID, ids, dtype=pl.String)


def is_among(text: pl.Expr, hashes: pl.Series) -> pl.Expr:
    """Tell whether the text's hash is one of these. To look up the texts themselves takes four times as long."""
    return text_hash(text).is_in(hashes.implode()) & text.is_not_null()


def text_hash(text: pl.Expr) -> pl.Expr:
    """Return the hash that `is_among` looks for; another one in each process."""
    return text.hash(_SEED)


def only_asked(table: pl.DataFrame, column: str, asked: pl.Series) -> pl.DataFrame:
    """Return the table, or a part of it that holds every row that is asked for: a join with it is cheaper.

    A join hashes the whole table each time, which is most of the work where a few records are looked up among all
    customers. So the table is gone through once instead or, if it is sorted, searched.
    """
    if table.height < asked.len():
        return table
    if table[column].flags["SORTED_ASC"] and asked.len() * _WORTH_SEARCHING < table.height:
        places = table[column].search_sorted(asked.drop_nulls()).unique()
        return table[places.filter(places < table.height)]
    return table.join(asked.alias(column).to_frame(), on=column, how="semi")


def _chosen(which: str, columns: tuple[str, ...]) -> pl.Expr:
    chosen = pl.col(columns[0])
    for name in columns[1:]:
        chosen = pl.when(pl.col(which) == name).then(pl.col(name)).otherwise(chosen)
    return chosen


def _returned(source: str, which: str, columns: tuple[str, ...]) -> list[pl.Expr]:
    if len(columns) == 1:
        return [pl.col(source).alias(columns[0])]
    return [
        pl.when(pl.col(which) == name).then(pl.col(source)).otherwise(pl.col(name)).alias(name) for name in columns
    ]  # fmt: skip


def _key(meter: Mapping[str, Any], setting: str, default: str) -> str:
    return str((meter.get(setting) or {}).get("event_payload_key") or default)
