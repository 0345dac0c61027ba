"""Stripe's totals of a meter against the sender's own records, customer by customer and UTC day by UTC day.

What an event tells is found by `intake`. This finds what no event told: usage that never arrived, or arrived twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final

import polars as pl

from workers.kernel.errors import Transient
from workers.pipeline.context import Context
from workers.pipeline.totals.our_usage import OurUsage, our_usage
from workers.pipeline.totals.sender_totals import (
    AMOUNT,
    CONTENT,
    DAY,
    DOUBT,
    PAIR,
    Reader,
    by_pair,
    once_each,
    settled_by,
    without,
)
from workers.pipeline.totals.stripe_totals import NOT_ASKED, StripeTotals, Told, are_equal, midnight
from workers.records.catalog import CUSTOMER_ID, Meter
from workers.records.identifiers import is_nameless
from workers.records.quantities import add, to_text
from workers.records.schema import IDENTIFIER, MAX_AGE, ROW, SOURCE
from workers.stripe_api.protocol import existing

SHOWN: Final = 5
"""Records that are named where several may explain a difference."""
TOGETHER: Final = 500_000
"""Records that lie in memory at a time."""
_DAY: Final = timedelta(days=1)
_ALREADY_OLD: Final = MAX_AGE - 2 * _DAY
"""Older days are not compared: rows of them may have been too old when Stripe saw them."""
_GONE: Final = "Stripe knows no such customer, or no more"


class Verdict(StrEnum):
    """What became of one customer's day."""

    EQUAL = "equal"
    MISSING = "missing"
    SURPLUS = "surplus"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Compared:
    """One customer's day of a meter. `why` is for a person; the totals are null where nobody can tell."""

    meter: Meter
    customer: str
    day: date
    verdict: Verdict
    stripe: Decimal | None = None
    own: Decimal | None = None
    why: str = ""

    @property
    def difference(self) -> Decimal:
        """How much more Stripe has than the sender's records come to; negative where it has less."""
        return add(self.stripe, -self.own) if self.stripe is not None and self.own is not None else Decimal(0)

    def as_json(self) -> dict[str, Any]:
        """Return it for a program, with decimal text."""
        totals = {"stripe": self.stripe, "own": self.own}
        return {
            "meter": self.meter.event_name,
            "customer": self.customer,
            "day": self.day.isoformat(),
            "verdict": str(self.verdict),
            **{name: None if total is None else to_text(total) for name, total in totals.items()},
            "why": self.why,
        }


@dataclass(frozen=True, eq=False)
class MeterRecords:
    """What counts of a meter from `first` to `last`: the sender's rows, what tells a record again, and ours."""

    meter: Meter
    first: date
    last: date
    counting: pl.LazyFrame
    copies: pl.LazyFrame
    ours: OurUsage

    @cached_property
    def days(self) -> Mapping[str, pl.DataFrame]:
        """Each customer with usage in these days, in order: `DAY`, `AMOUNT` and `DOUBT` of the days."""
        needed = pl.concat([frame.select(*PAIR, AMOUNT, DOUBT) for frame in (self.counting, self.ours.sent.lazy())])
        totals = by_pair(needed.filter(pl.col(DAY).is_between(self.first, self.last))).collect()
        ordered = totals.sort(CUSTOMER_ID, DAY).select(CUSTOMER_ID, DAY, AMOUNT, DOUBT)
        by_customer = ordered.partition_by(CUSTOMER_ID, as_dict=True, include_key=False, maintain_order=True)
        return {str(customer): days for (customer,), days in by_customer.items()}


def days_to_audit(context: Context, since: date | None, days: int) -> tuple[date, date]:
    """Return the first and the last day that can be compared, from `since` on or so many days back."""
    last = settled_by(context).astimezone(UTC).date() - _DAY
    oldest = (context.clock() - _ALREADY_OLD).date()
    return max(oldest, since or last - (days - 1) * _DAY), last


def records_of(
    context: Context, account: str | None, meter: Meter, first: date, last: date, folder: Path
) -> MeterRecords:
    """Read what the sources and the ledger have of a meter; a day more at each end, for identifiers told twice.

    The records lie in `folder` by their identifiers, so that those of one are together and all are never in memory.
    """
    reader = Reader(context, meter)
    start, end = midnight(first), midnight(last) + _DAY
    rows = context.sources_of(account).rows([meter.event_name], start - _DAY, end + _DAY)
    ours = our_usage(context, account, reader, start)
    count = 0
    for number, frame in enumerate(chain([reader.nothing()], map(reader.read, rows))):
        frame.write_parquet(folder / f"read-{number}.parquet")
        count += frame.height
    everything = pl.scan_parquet(folder / "read-*.parquet")
    share = pl.when(is_nameless()).then(CONTENT).otherwise(pl.col(IDENTIFIER).hash()) % (count // TOGETHER + 1)
    for number in range(count // TOGETHER + 1):
        read = everything.filter(share == number).collect()
        once = once_each(read)
        without(once, ours.refused).write_parquet(folder / f"counting-{number}.parquet")
        again = read.filter(~is_nameless()).join(once, on=[IDENTIFIER, CONTENT, SOURCE, ROW], how="anti")
        again.write_parquet(folder / f"copies-{number}.parquet")
    counting, copies = (pl.scan_parquet(folder / f"{name}-*.parquet") for name in ("counting", "copies"))
    return MeterRecords(meter, first, last, counting, copies, ours)


def compare(
    context: Context, account: str | None, records: MeterRecords, customer: str, totals: StripeTotals
) -> Iterator[Compared]:
    """Yield each day on which a customer used the meter. Raises Transient; OutOfCalls where none is left."""
    days = records.days[customer]
    told = totals.of(records.meter, customer, records.first, records.last)
    if told.untold == NOT_ASKED:
        raise OutOfCalls(NOT_ASKED)
    compared = [_day(records, customer, told, *row) for row in days.iter_rows()]
    differs = any(one.verdict in {Verdict.MISSING, Verdict.SURPLUS} for one in compared)
    if differs and not existing(context.stripe.find_customers([customer], account)):
        compared = [_day(records, customer, Told(untold=_GONE), *row) for row in days.iter_rows()]
    yield from compared


class OutOfCalls(Transient):
    """The calls of this day are used up: it goes on tomorrow."""


def _day(records: MeterRecords, customer: str, told: Told, day: date, own: Decimal, doubt: str | None) -> Compared:
    about = records.meter, customer, day
    if told.untold is not None:
        return Compared(*about, Verdict.NOT_COMPARABLE, why=told.untold)
    stripe = told.on(day)
    if doubt is not None:
        return Compared(*about, Verdict.NOT_COMPARABLE, stripe, why=doubt)
    if are_equal(stripe, own):
        return Compared(*about, Verdict.EQUAL, stripe, own)
    missing = stripe < own
    why = (
        _what_is_missing(records, about, own - stripe) if missing else _whose_surplus(records, about, stripe - own)
    )
    return Compared(*about, Verdict.MISSING if missing else Verdict.SURPLUS, stripe, own, why)


_About = tuple[Meter, str, date]


def _that_day(records: pl.LazyFrame, about: _About) -> pl.DataFrame:
    _, customer, day = about
    return records.filter((pl.col(CUSTOMER_ID) == customer) & (pl.col(DAY) == day)).collect()


def _what_is_missing(records: MeterRecords, about: _About, amount: Decimal) -> str:
    """Name the one record that explains what is missing, or those that may."""
    there = _that_day(records.counting, about)
    alone = there.filter(pl.col(AMOUNT) == amount)
    unnamed = records.ours.unnamed
    waits = f" {unnamed} refused records of the meter have not been found yet." if unnamed else ""
    if alone.height == 1:
        return f"{_names(alone)} alone explains it.{waits}"
    if alone.height:
        return f"Any of {alone.height} records explains it: {_names(alone)}.{waits}"
    return f"No single one of its {there.height} records explains it: {_names(there)}.{waits}"


def _whose_surplus(records: MeterRecords, about: _About, amount: Decimal) -> str:
    """Say what may have been billed twice: what we sent, a file that tells records again, or neither."""
    sent, copies = _that_day(records.ours.sent.lazy(), about), _that_day(records.copies, about)
    if are_equal(_sum(sent), amount) or sent.filter(pl.col(AMOUNT) == amount).height:
        return f"metermend has sent as much of it: {_names(sent)}. Perhaps it had been billed before."
    if copies.height:
        files = ", ".join(copies[SOURCE].drop_nulls().unique(maintain_order=True).head(SHOWN))
        return (
            f"{copies.height} of its records stand in a second file ({files}), with {to_text(_sum(copies))} in all."
        )
    return "Nothing in the sources explains it: another program may have sent it, or a file that is not there."


def _sum(records: pl.DataFrame) -> Decimal:
    return add(*records[AMOUNT])


def _names(records: pl.DataFrame) -> str:
    shown = [
        f"{row[IDENTIFIER] or 'a record'}{f' ({row[SOURCE]} row {row[ROW]})' if row[SOURCE] else ''}"
        for row in records.head(SHOWN).iter_rows(named=True)
    ]
    more = [f"{records.height - SHOWN} more"] if records.height > SHOWN else []
    return ", ".join([*shown, *more])
