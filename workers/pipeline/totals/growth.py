"""What Stripe's totals of customers' days are, and whether they have grown by what was sent.

Usage that the sender sends meanwhile grows them as well: growth shows that at least as much has arrived, not that
it is ours.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self

import polars as pl

from workers.kernel.errors import Permanent
from workers.pipeline.context import Context
from workers.pipeline.totals.sender_totals import AMOUNT, AMOUNT_TYPE, DAY
from workers.pipeline.totals.stripe_totals import StripeTotals, margin, why_not_comparable
from workers.records import timestamps
from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.quantities import add, to_text
from workers.records.schema import EVENT_NAME, QUANTITY, TIMESTAMP

MOST_DAYS: Final = 50
"""Customers' days of a submission that Stripe is asked about; one with more is too dear to ask about."""


class Untold(Permanent):
    """Stripe's totals cannot tell whether these records arrive."""


class CustomerDay(NamedTuple):
    """What Stripe tells one total for; the day is one of UTC."""

    event_name: str
    customer: str
    day: date


Totals = Mapping[CustomerDay, Decimal]


@dataclass(frozen=True)
class Growth:
    """A customer's day: Stripe's total before the first of what was sent, and now, and how much was sent since."""

    of: CustomerDay
    before: Decimal
    now: Decimal
    sent: Decimal

    @property
    def is_enough(self) -> bool:
        return self.now - self.before >= self.sent - margin(self.before, self.now)

    @property
    def is_more(self) -> bool:
        """Whether more has been counted than we sent: then others' usage may stand in for ours."""
        return self.now - self.before > self.sent + margin(self.before, self.now)

    def to_json(self) -> dict[str, str]:
        amounts = {"before": self.before, "now": self.now, "sent": self.sent}
        named = {"event_name": self.of.event_name, "customer": self.of.customer, "day": self.of.day.isoformat()}
        return named | {name: to_text(amount) for name, amount in amounts.items()}


@dataclass(frozen=True)
class Baseline:
    """Stripe's totals just before a submission was intended."""

    totals: Totals

    def to_json(self) -> list[list[str]]:
        return [[one.event_name, one.customer, one.day.isoformat(), to_text(v)] for one, v in self.totals.items()]

    @classmethod
    def from_json(cls, told: Sequence[Sequence[Any]]) -> Self:
        days = {CustomerDay(name, who, date.fromisoformat(day)): Decimal(value) for name, who, day, value in told}
        return cls(days)


def read_baseline(context: Context, account: str | None, catalog: Catalog, records: pl.LazyFrame) -> Baseline:
    """Return Stripe's totals of the days that these records will grow.

    Raises Untold where their arrival would not show for certain, Transient and Permanent as Stripe's answers do.
    """
    sent = amounts(records, catalog)
    if not sent or len(sent) > MOST_DAYS:
        raise Untold(f"they are of {len(sent)} customers' days, and {MOST_DAYS} are asked about")
    if _quantities(records).lt(0).any():
        raise Untold("some of them take away from the total")
    before = totals_now(context, account, catalog, sent)
    for one, amount in sent.items():
        if amount <= margin(before[one], before[one] + amount):
            raise Untold(f"what goes to {one.customer} on {one.day} would not show in the total")
    return Baseline(before)


def amounts(records: pl.LazyFrame, catalog: Catalog) -> dict[CustomerDay, Decimal]:
    """Add up what records bring to each customer's day.

    Raises Untold where their meters' totals do not add them up, or they cannot be read in full.
    """
    names = records.select(pl.col(EVENT_NAME).unique()).collect().to_series()
    meters = [catalog.by_event_name.get(name) for name in names]
    for meter in meters:
        unfit = "no meter has their event name" if meter is None else why_not_comparable(meter)
        if unfit:
            raise Untold(unfit)
    counting = [meter.event_name for meter in meters if meter and meter.formula == "count"]
    read = _read(records, catalog, counting)
    if read.height > read.drop_nulls().height:
        raise Untold("the customer, the time or the quantity of some cannot be read")
    sums = read.group_by(EVENT_NAME, CUSTOMER_ID, DAY).agg(pl.col(AMOUNT).sum()).sort(EVENT_NAME, CUSTOMER_ID, DAY)
    return {CustomerDay(*key): amount for *key, amount in sums.iter_rows()}


def _quantities(records: pl.LazyFrame) -> pl.Series:
    return records.select(pl.col(QUANTITY).cast(AMOUNT_TYPE, strict=False)).collect().to_series()


def _read(records: pl.LazyFrame, catalog: Catalog, counting: Collection[str]) -> pl.DataFrame:
    there = set(records.collect_schema().names())
    needed = [EVENT_NAME, TIMESTAMP, QUANTITY, *(name for name in catalog.key_columns if name in there)]
    counts = pl.col(EVENT_NAME).is_in(list(counting))
    return catalog.resolve(records.select(*dict.fromkeys(needed)).collect()).select(
        EVENT_NAME,
        CUSTOMER_ID,
        pl.from_epoch(timestamps.epoch_seconds(pl.col(TIMESTAMP))).dt.date().alias(DAY),
        pl.when(counts).then(pl.lit("1")).otherwise(QUANTITY).cast(AMOUNT_TYPE, strict=False).alias(AMOUNT),
    )


def totals_now(context: Context, account: str | None, catalog: Catalog, days: Collection[CustomerDay]) -> Totals:
    """Ask Stripe for the totals of these days. Raises Untold, Transient and Permanent."""
    stripe = StripeTotals(context, account, MOST_DAYS)
    spans: dict[tuple[str, str], list[date]] = {}
    for one in days:
        spans.setdefault((one.event_name, one.customer), []).append(one.day)
    totals: dict[CustomerDay, Decimal] = {}
    for (name, customer), dates in spans.items():
        meter = catalog.by_event_name.get(name)
        if meter is None:
            raise Untold(f"no meter has the event name {name} any more")
        told = stripe.of(meter, customer, min(dates), max(dates))
        if told.untold:
            raise Untold(told.untold)
        totals |= {CustomerDay(name, customer, day): told.on(day) for day in dates}
    return totals


def growth(before: Totals, now: Totals, sent: Sequence[Totals]) -> list[Growth]:
    """Return how each of the days in `now` has grown, beside the sum of all that was sent of it."""
    nothing = Decimal(0)
    return [Growth(one, before[one], now[one], add(*(each.get(one, nothing) for each in sent))) for one in now]
