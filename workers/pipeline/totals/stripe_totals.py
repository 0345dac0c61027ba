"""What Stripe has counted of a customer, by UTC day: each asked once, and no more often than a budget allows.

Source: Stripe docs, "List billing meter event summaries": grouped by day, a call tells every day of a span on which
a customer used something.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from workers.pipeline.context import Context
from workers.records.catalog import Meter
from workers.stripe_api.errors import BadRequest

ADDING: Final = ("sum", "count")
"""The formulas by which records add up to a total."""
NOT_ASKED: Final = "Stripe was not asked: it would have been one call too many"
_DAY: Final = timedelta(days=1)
_DOUBLE: Final = Decimal("1E-14")
"""Stripe writes totals as JSON numbers, which carry some fifteen digits: what differs by less is the same."""


@dataclass(frozen=True)
class Told:
    """Stripe's totals of a customer by UTC day, or why it told none."""

    by_day: Mapping[date, Decimal] = field(default_factory=dict)
    untold: str | None = None

    def on(self, day: date) -> Decimal:
        """Return the total of a day that was asked for: a day without usage is left out of Stripe's answer."""
        return self.by_day.get(day, Decimal(0))


class StripeTotals:
    """The totals of one account for one piece of work; `calls` are left to be made."""

    def __init__(self, context: Context, account: str | None, calls: int) -> None:
        self._context = context
        self._account = account
        self._told: dict[tuple[str, str], tuple[date, date, Told]] = {}
        self.calls = calls

    def of(self, meter: Meter, customer: str, first: date, last: date) -> Told:
        """Return the totals of the days from `first` to `last`, both included. Raises Transient."""
        known = self._told.get((meter.id, customer))
        if known is not None and known[0] <= first <= last <= known[1]:
            return known[2]
        if known is not None:
            first, last = min(first, known[0]), max(last, known[1])
        told = self._ask(meter, customer, first, last)
        self._told[meter.id, customer] = first, last, told
        return told

    def _ask(self, meter: Meter, customer: str, first: date, last: date) -> Told:
        if self.calls <= 0:
            return Told(untold=NOT_ASKED)
        self.calls -= 1
        start, end = midnight(first), midnight(last) + _DAY
        try:
            days = self._context.stripe.event_summaries(meter.id, customer, start, end, self._account, "day")
        except BadRequest as refusal:
            return Told(untold=f"Stripe tells no totals of {customer}: {refusal}")
        return Told({day.start.astimezone(UTC).date(): day.value for day in days})


def why_not_comparable(meter: Meter) -> str | None:
    """Return why a meter's totals do not tell which records it holds; None where they do."""
    if meter.formula not in ADDING:
        return f"the meter's formula is {meter.formula}: its total does not add up its records"
    return "the meter keeps one record per window: its total does not add up all" if meter.window_seconds else None


def midnight(day: date) -> datetime:
    """Return when a UTC day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def are_equal(one: Decimal, other: Decimal) -> bool:
    """Tell whether two totals are the same, as far as Stripe's numbers can tell."""
    return abs(one - other) <= margin(one, other)


def margin(one: Decimal, other: Decimal) -> Decimal:
    """Return by how much Stripe's numbers of two totals may be off."""
    return max(abs(one), abs(other)) * _DOUBLE
