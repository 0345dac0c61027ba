"""What a case's open usage is worth, by when it is lost, and which case comes first.

The order is money by time left, in one rule: the case comes first whose deadline is earlier, where a day less
to go weighs as much as twice the money. So a case has a moment, `urgent_at`: its deadline, moved ahead by a day
for each doubling of its amount in minor units. It does not change as time goes by, so it has an index, and an
old case comes up before a rich one in the end. Of several currencies the largest amount counts, and of a range
its upper end; a minor unit of any currency weighs alike, since nobody tells exchange rates here. Where no price
is known, each record weighs as one minor unit. What is lost already comes last: nothing of it is to be saved.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from workers.kernel.ledger.case import Case
from workers.kernel.money import Money, decimals, from_json, to_json

LONGEST: Final = timedelta(days=35)
"""How long usage can be billed (Stripe docs, "Record usage for billing"), and what has no known time, at most."""
MOST_PAYERS: Final = 25
"""Customers of one case whose invoices are asked for."""
DOUBLING: Final = timedelta(days=1)
"""A case with twice the money comes first as if its deadline were so much earlier."""


class LostBy(StrEnum):
    """Why a case has its deadline."""

    TOO_OLD = "too_old"
    INVOICE = "invoice"


@dataclass(frozen=True)
class Appraisal:
    """What the open usage of a case is worth, and by when.

    `too_old_at` is when its oldest open usage is 35 days old, `invoice_at` when the next invoice of one of its
    customers, `invoice_of`, is finalised, as far as that is known. `lacks` says in sentences what is not known,
    and why. `payers` are its customers, the largest open quantity first. `records` are open.
    """

    records: int
    too_old_at: datetime | None
    payers: Sequence[str] = ()
    invoice_at: datetime | None = None
    invoice_of: str | None = None
    at_risk: Money = field(default_factory=dict)
    lacks: Sequence[str] = ()

    @property
    def deadline(self) -> datetime | None:
        """The earlier of both."""
        return _earlier(self.too_old_at, self.invoice_at)

    def columns(self, opened_at: datetime, now: datetime) -> dict[str, Any]:
        """Return what of it stands in the row of a case that was opened at a time."""
        last_chance = self.deadline or opened_at + LONGEST
        return {
            "too_old_at": self.too_old_at,
            "payers": list(self.payers),
            "invoice_at": self.invoice_at,
            "invoice_of": self.invoice_of,
            "at_risk": to_json(self.at_risk),
            "lacks": list(self.lacks),
            "deadline": self.deadline,
            "urgent_at": self._urgent_at(last_chance) if self.records and last_chance > now else None,
        }

    def _urgent_at(self, deadline: datetime) -> datetime:
        return deadline - DOUBLING * math.log2(max(1, weight(self.at_risk) or self.records))


def weight(money: Money) -> int:
    """Return how much money weighs in the order of cases: minor units of the largest amount."""
    return max((int(abs(one.high).scaleb(decimals(name))) for name, one in money.items()), default=0)


def at_risk(case: Case) -> Money:
    """Return what the open usage of a case is worth, as it was last appraised; nothing where no price is known."""
    return from_json(case.at_risk)


def with_deadline(case: Case, too_old_at: datetime | None) -> Case:
    """Return a case with the time at which its oldest open usage is too old, as of now, and so its deadline."""
    return replace(case, too_old_at=too_old_at, deadline=_earlier(too_old_at, case.invoice_at))


def _earlier(*moments: datetime | None) -> datetime | None:
    return min(filter(None, moments), default=None)


def lost_by(case: Case) -> LostBy | None:
    """Tell why a case has its deadline; None where it has none."""
    if case.deadline is None:
        return None
    return LostBy.INVOICE if case.deadline == case.invoice_at else LostBy.TOO_OLD


_WORDS: Final[Mapping[LostBy, str]] = {
    LostBy.TOO_OLD: "its oldest open usage is too old to bill: Stripe takes usage of the last 35 days",
    LostBy.INVOICE: "the next invoice of {customer} is finalised, without this usage",
}
"""Why a deadline is one, to stand after "by … UTC"; {customer} is whose invoice it is."""


def why_lost(case: Case) -> str:
    """Say why a case has its deadline, by the name of the customer whose invoice it is; empty where it has none."""
    reason = lost_by(case)
    return _WORDS[reason].format(customer=case.invoice_of or "a customer of it") if reason else ""
