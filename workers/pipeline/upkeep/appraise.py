"""Appraising open cases by what Stripe says of prices and invoices: a duty of the clock, and no step of a case.

What was read is kept: prices for an hour, a billing period until its invoice is finalised. One turn makes a bounded
number of calls at the pace of all others, and a case is appraised by what is known then. A key that may not ask is
no trouble: the case says what is missing, and Stripe is asked again an hour later.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from workers.kernel.errors import MetermendError, Permanent, Transient
from workers.kernel.ledger.appraisal import Appraisal
from workers.kernel.ledger.appraisals import BillingPeriod, MeterPrices, OpenUsage
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.case_facts import meters_of, open_quantities
from workers.kernel.logs import get_logger
from workers.pipeline.case_facts import open_usage
from workers.pipeline.context import Context
from workers.stripe_api import Json

log = get_logger(__name__)

MOST_CASES: Final = 200
"""Cases of one turn."""
MOST_CALLS: Final = 20
"""Questions to Stripe of one turn."""
FRESH: Final = timedelta(hours=1)
"""How long prices are good, and a refusal to tell; so often an open case is appraised."""
WITHOUT: Final = timedelta(days=1)
"""How long a customer without a billing period is taken for one."""
SOON: Final = timedelta(minutes=1)
"""When a case is appraised again for which Stripe did not answer."""
NEXT_TURN: Final = timedelta(0)

_LACKS: Final = {
    "prices": "the key may not read what usage costs",
    "invoices": "the key may not read when customers are invoiced",
}

Read = TypeVar("Read", MeterPrices, BillingPeriod)


def appraise(context: Context, calls: int = MOST_CALLS) -> int:
    """Appraise the cases that are due, up to a bound; return how many. Raises LedgerUnavailable."""
    turn, due = _Turn(context, calls), context.ledger.appraisals.due(MOST_CASES)
    appraised = [(case, *turn.appraise(case)) for case in due]
    context.ledger.appraisals.keep(appraised)
    return len(due)


@dataclass
class _Turn:
    """One turn: how many questions are `left` of it, and why Stripe `refused` to tell, by what and account.

    `away` tells that Stripe did not answer: it is asked nothing more in this turn.
    """

    context: Context
    left: int
    away: bool = False
    refused: dict[tuple[str, str | None], str] = field(default_factory=dict)
    meters: dict[str | None, Mapping[str, Json]] = field(default_factory=dict)

    def appraise(self, case: Case) -> tuple[Appraisal, datetime | None]:
        """Read what is missing for a case; return its appraisal by what is known then, and when the next is due."""
        account, grace, now = case.failure.account, self.context.invoice_grace, self.context.clock()
        usage = self._usage(case)
        names = [name for name, _ in open_quantities(usage.by_meter)]
        all_read = not names or (
            self._read_prices(account, list(filter(None, names))) & self._read_periods(account, usage.payers)
        )
        appraisal = self.context.ledger.appraisals.of(account, usage, grace)
        again = now + (FRESH if all_read else SOON if self.away else NEXT_TURN)
        if appraisal.deadline is not None and appraisal.deadline > now:
            again = min(again, appraisal.deadline)
        return appraisal, again if names else None

    def _usage(self, case: Case) -> OpenUsage:
        """Return what is open of a case: by its row, and by its records once the oldest of them is lost."""
        kept = OpenUsage(meters_of(case), case.too_old_at, case.payers or ())
        if case.urgent_at is None or case.too_old_at is None or case.too_old_at > self.context.clock():
            return kept
        try:
            there = self.context.ledger.cases.read(case.id)
            return open_usage(self.context, there.case, there.journal)
        except MetermendError as trouble:  # the archive is away, or removed it: the row tells what it can
            log.warning("not_read", case_id=case.id, why=str(trouble))
            return kept

    def _read_prices(self, account: str | None, event_names: Collection[str]) -> bool:
        """Keep prices where they are not fresh; tell whether all could be asked for."""
        appraisals, now = self.context.ledger.appraisals, self.context.clock()
        kept = appraisals.prices(account, event_names)
        old = [name for name in event_names if name not in kept or now >= kept[name].read_at + FRESH]
        asked = [self._ask("prices", account, partial(self._prices, account, name)) for name in old]
        for read in filter(None, asked):
            appraisals.keep_prices(account, read)
        return None not in asked

    def _prices(self, account: str | None, name: str, lack: str | None) -> MeterPrices:
        now, stripe = self.context.clock(), self.context.stripe
        if lack:
            return MeterPrices(name, now, lack=lack)
        if account not in self.meters:
            active_last = sorted(stripe.list_meters(account), key=lambda meter: meter.get("status") == "active")
            self.meters[account] = {meter["event_name"]: meter for meter in active_last}
        meter = self.meters[account].get(name)
        if meter is None:
            return MeterPrices(name, now, lack=f"no meter is called {name}")
        prices = stripe.meter_prices(meter["id"], account)
        formula = (meter.get("default_aggregation") or {}).get("formula")
        return MeterPrices(name, now, formula, prices, None if prices else f"{name} has no active price")

    def _read_periods(self, account: str | None, customers: Collection[str]) -> bool:
        """Keep billing periods where they are over or not known; tell whether all could be asked for."""
        appraisals = self.context.ledger.appraisals
        kept = appraisals.periods(account, customers)
        over = [customer for customer in customers if self._is_over(kept.get(customer))]
        asked = [self._ask("invoices", account, partial(self._period, account, customer)) for customer in over]
        for read in filter(None, asked):
            appraisals.keep_period(account, read)
        return None not in asked

    def _period(self, account: str | None, customer: str, lack: str | None) -> BillingPeriod:
        ends_at = None if lack else self.context.stripe.period_end(customer, account)
        return BillingPeriod(customer, self.context.clock(), ends_at, lack)

    def _is_over(self, period: BillingPeriod | None) -> bool:
        if period is None:
            return True
        now = self.context.clock()
        if period.ends_at is None:
            return now >= period.read_at + (FRESH if period.lack else WITHOUT)
        return now >= max(period.ends_at + self.context.invoice_grace, period.read_at + FRESH)

    def _ask(self, what: str, account: str | None, question: Callable[[str | None], Read]) -> Read | None:
        """Return what Stripe says, or why it does not tell; None where it cannot be asked in this turn.

        `question` is given the reason where Stripe is not to be asked.
        """
        if (what, account) not in self.refused:
            if self.away or not self.left:
                return None
            self.left -= 1
            try:
                return question(None)
            except Transient as trouble:
                log.info("not_appraised", what=what, why=str(trouble))
                self.away = True
                return None
            except Permanent as refusal:
                said, _, mend = str(refusal).partition(" - ")
                self.refused[what, account] = f"{_LACKS[what]}: {mend or said}"
        return question(self.refused[what, account])
