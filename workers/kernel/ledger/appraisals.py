"""What cases are appraised by: prices and billing periods as last read from Stripe, and which case is next.

A case is appraised from what is kept here, in its own commits too, so that no repair waits for a price.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from workers.kernel.clock import Clock
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.case import Case, case_of
from workers.kernel.ledger.case_facts import LONGEST_NAME, ByMeter, open_quantities
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.journal import Tally
from workers.kernel.ledger.open_parts import keep_open_money
from workers.kernel.ledger.tables import billing_periods, cases, meter_prices
from workers.kernel.money import NO_MONEY, Money, UnitPrice, added, prices_from_json, prices_to_json, worth

COUNT: Final = "count"
SUM: Final = "sum"
"""How a meter adds up (Stripe docs, "The Meter object"); others, such as `last`, keep one value of a period."""


@dataclass(frozen=True)
class MeterPrices:
    """What usage of a meter costs. `formula` is how it adds up; `lack` says why there is no price to go by."""

    event_name: str
    read_at: datetime
    formula: str | None = None
    prices: Sequence[UnitPrice] = ()
    lack: str | None = None


@dataclass(frozen=True)
class BillingPeriod:
    """When the current period of a customer's metered subscriptions ends; `lack` says why that cannot be asked."""

    customer: str
    read_at: datetime
    ends_at: datetime | None = None
    lack: str | None = None


@dataclass(frozen=True)
class OpenUsage:
    """What is appraised: quantities by meter, when the oldest is too old, and whose it is, the most first."""

    by_meter: ByMeter
    too_old_at: datetime | None
    payers: Sequence[str]


def can_be_asked(name: str) -> bool:
    """Tell whether a sender's text can be a name at Stripe, and stand in a database."""
    return 0 < len(name) <= LONGEST_NAME and "\0" not in name


def value_of(tally: Tally, meter: MeterPrices | None) -> Money:
    """Return what usage of a meter is worth; nothing where that is not known."""
    if meter is None or lack_of(meter.event_name, tally, meter):
        return NO_MONEY
    return worth(meter.prices, Decimal(tally.records) if meter.formula == COUNT else tally.quantity)


def lack_of(event_name: str, tally: Tally, meter: MeterPrices | None) -> str | None:
    """Say why nobody knows what usage of a meter is worth; None where it is known."""
    if meter is None:
        return f"the prices of {event_name} have not been read yet"
    if meter.lack:
        return meter.lack
    if meter.formula not in (COUNT, SUM):
        return f"{event_name} bills one value of a period, so its records are worth no sum"
    if meter.formula == SUM and not tally.quantity:
        return f"the quantity of the records of {event_name} is not known"
    return None


class Appraisals:
    """Prices, billing periods, and the appraisals of cases. `account` is a connected account's id, or None."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def prices(self, account: str | None, event_names: Collection[str]) -> Mapping[str, MeterPrices]:
        """Return what is kept of the prices of meters, by event name. Raises LedgerUnavailable.

        What no meter can be called needs no asking: a sender's text may be anything.
        """
        rows = self._kept(meter_prices, "event_name", account, list(filter(can_be_asked, event_names)))
        kept = {row["event_name"]: {**row, "prices": prices_from_json(row["prices"])} for row in rows}
        none = "no meter can have an event name of so many characters, or with a NUL in it"
        impossible = {
            name: MeterPrices(name, self._clock(), lack=none) for name in event_names if not can_be_asked(name)
        }
        return {name: MeterPrices(**row) for name, row in kept.items()} | impossible

    def periods(self, account: str | None, customers: Collection[str]) -> Mapping[str, BillingPeriod]:
        """Return what is kept of the periods of customers, by customer. Raises LedgerUnavailable."""
        rows = self._kept(billing_periods, "customer", account, list(filter(can_be_asked, customers)))
        return {row["customer"]: BillingPeriod(**row) for row in rows}

    def _kept(self, table: Table, key: str, account: str | None, names: Collection[str]) -> list[dict[str, Any]]:
        query = select(table).where(table.c.account == (account or ""), table.c[key].in_(names))
        rows = self._database.rows(query) if names else ()
        return [{name: value for name, value in row.items() if name != "account"} for row in rows]

    def keep_prices(self, account: str | None, read: MeterPrices) -> None:
        """Keep what was read of a meter's prices. Raises LedgerUnavailable."""
        self._keep(meter_prices, "event_name", account, {**asdict(read), "prices": prices_to_json(read.prices)})

    def keep_period(self, account: str | None, read: BillingPeriod) -> None:
        """Keep what was read of a customer's period. Raises LedgerUnavailable."""
        self._keep(billing_periods, "customer", account, asdict(read))

    def _keep(self, table: Table, key: str, account: str | None, row: Mapping[str, Any]) -> None:
        here = table.c.account == (account or ""), table.c[key] == row[key]
        # Another clock may have kept the same at this moment.
        with suppress(IntegrityError), self._database.write() as connection:
            connection.execute(delete(table).where(*here))
            connection.execute(insert(table).values(account=account or "", **row))

    def forget(self, before: datetime) -> None:
        """Forget what was read before a moment: what is needed is read again. Raises LedgerUnavailable."""
        with self._database.write() as connection:
            for table in (meter_prices, billing_periods):
                connection.execute(delete(table).where(table.c.read_at < before))

    def of(self, account: str | None, usage: OpenUsage, grace: timedelta) -> Appraisal:
        """Return what open usage is worth and by when, as far as is kept here.

        `grace` is the time from the end of a billing period until its invoice is finalised.
        """
        named = [(name, tally) for name, tally in open_quantities(usage.by_meter) if name]
        prices = self.prices(account, [name for name, _ in named])
        periods = self.periods(account, usage.payers).values()
        ends = ((one.ends_at + grace, one.customer) for one in periods if one.ends_at)
        invoice_at, invoice_of = min((end for end in ends if end[0] > self._clock()), default=(None, None))
        unpriced = (lack_of(name, tally, prices.get(name)) for name, tally in named)
        return Appraisal(
            records=sum(tally.records for _, tally in open_quantities(usage.by_meter)),
            too_old_at=usage.too_old_at,
            payers=usage.payers,
            invoice_at=invoice_at,
            invoice_of=invoice_of,
            at_risk=added(value_of(tally, prices.get(name)) for name, tally in named),
            lacks=sorted({lack for lack in (*unpriced, *(period.lack for period in periods)) if lack}),
        )

    def due(self, limit: int) -> Sequence[Case]:
        """Return cases whose appraisal is due, the longest waiting first. Raises LedgerUnavailable."""
        query = select(cases).where(cases.c.appraise_at <= self._clock()).order_by(cases.c.appraise_at).limit(limit)
        return list(map(case_of, self._database.rows(query)))

    def keep(self, appraised: Iterable[tuple[Case, Appraisal, datetime | None]]) -> None:
        """Keep appraisals of cases as they were read, but for those that have changed since; each with its next.

        It needs no lease: no step of a case goes by these columns. Raises LedgerUnavailable.
        """
        now = self._clock()
        with self._database.write() as connection:
            # In one order, so that no two clocks wait for each other.
            for case, appraisal, again in sorted(appraised, key=lambda one: one[0].id):
                mine = cases.c.id == case.id, cases.c.version == case.version
                values = {**appraisal.columns(case.opened_at, now), "appraise_at": again}
                if connection.execute(update(cases).where(*mine).values(values)).rowcount:
                    keep_open_money(connection, case.id, appraisal.at_risk)
