"""The audit as a walk over accounts, meters and customers: bounded in calls a day, and resumed where it stopped.

A checkpoint for each question (`Question`) has the days that it compares and the last customer that is done.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any, Final

from workers.kernel.errors import InputUnusable, SettingsUnusable
from workers.pipeline.audit.audit_case import write_down
from workers.pipeline.audit.totals_check import (
    Compared,
    MeterRecords,
    OutOfCalls,
    Verdict,
    compare,
    days_to_audit,
    records_of,
)
from workers.pipeline.context import Context
from workers.pipeline.lookups import meters_of
from workers.pipeline.record_sets import workspace
from workers.pipeline.totals.stripe_totals import NOT_ASKED, StripeTotals, why_not_comparable
from workers.records.catalog import Meter
from workers.sources import NOWHERE

DAYS: Final = 7
"""Days that are compared where nobody says since when: usage may be uploaded late."""
_CALLS: Final = "audit:calls"


@dataclass(frozen=True)
class Question:
    """What is to be audited: all of the last `DAYS` days, or less, or from an earlier day on."""

    since: date | None = None
    meter: str | None = None
    customer: str | None = None

    @property
    def checkpoint(self) -> str:
        """The name under which is kept how far its walk has come."""
        return f"audit:{sha256(repr(self).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Finding:
    """One customer's day, and the case that its difference has led to; or a meter that cannot be compared."""

    account: str | None
    meter: Meter
    compared: Compared | None = None
    case_id: str | None = None
    why: str | None = None


@dataclass
class Walk:
    """One walk; `stopped` tells why it ended before its end."""

    context: Context
    question: Question
    stopped: str | None = None

    def __post_init__(self) -> None:
        if not self._accounts():
            raise SettingsUnusable(
                "there is nothing to compare Stripe's totals with",
                where="USAGE_SOURCES",
                mend="name your usage files",
            )
        self._saved: dict[str, Any] = self.context.ledger.checkpoints.get(self.question.checkpoint) or {}
        if "at" in self._saved:
            self.first, self.last = (date.fromisoformat(self._saved[name]) for name in ("first", "last"))
        else:
            self.first, self.last = days_to_audit(self.context, self.question.since, DAYS)
        if self.first > self.last:
            raise InputUnusable("no day since then is over", where="--since", mend=f"name {self.last} or earlier")

    @property
    def is_fresh(self) -> bool:
        """Whether the same walk has come to its end on this day."""
        return bool(self._saved.get("finished") == self._today)

    @property
    def _today(self) -> str:
        return self.context.clock().date().isoformat()

    def findings(self) -> Iterator[Finding]:
        """Compare what is left of the walk, and yield each customer's day. Raises Transient while Stripe is away.

        A difference has its case by the time it is yielded. Where the calls of the day are used up it ends, and
        goes on from there the next time.
        """
        meters = [(account, meter) for account in self._accounts() for meter in self._meters(account)]
        if self.question.meter is not None and not meters:
            raise InputUnusable(
                "no meter has this event name", where=self.question.meter, mend="see `metermend doctor`"
            )
        try:
            for account, meter in meters:
                yield from self._of_meter(account, meter)
        except OutOfCalls as error:
            self.stopped = str(error)
        else:
            self._save({"finished": self._today})

    def _of_meter(self, account: str | None, meter: Meter) -> Iterator[Finding]:
        why = why_not_comparable(meter)
        if why is not None:
            yield Finding(account, meter, why=why)
            return
        done = self._saved.get("at") or ["", "", ""]
        if [account or "", meter.id] < done[:2]:
            return
        totals = StripeTotals(self.context, account, self._calls_left())
        if not totals.calls:
            raise OutOfCalls(NOT_ASKED)
        with workspace(self.context) as folder:
            records = records_of(self.context, account, meter, self.first, self.last, folder)
            yield from self._customers(account, records, totals, done)

    def _customers(
        self, account: str | None, records: MeterRecords, totals: StripeTotals, done: list[str]
    ) -> Iterator[Finding]:
        for customer in records.days:
            here = [account or "", records.meter.id, customer]
            if here <= done or self.question.customer not in {None, customer}:
                continue
            before = totals.calls
            for compared in compare(self.context, account, records, customer, totals):
                case_id = write_down(self.context, account, compared)
                yield Finding(account, records.meter, compared, case_id)
            self._count(before - totals.calls)
            self._save({"first": self.first.isoformat(), "last": self.last.isoformat(), "at": here})

    def _accounts(self) -> list[str | None]:
        own: list[str | None] = [] if self.context.sources is NOWHERE else [None]
        return own + sorted(self.context.account_sources)

    def _meters(self, account: str | None) -> list[Meter]:
        named = self.question.meter
        found = [meter for meter in meters_of(self.context, account) if named in {None, meter.event_name}]
        return sorted(found, key=lambda meter: meter.id)

    def _calls_left(self) -> int:
        return max(0, self.context.settings.audit_calls - self._calls_made())

    def _calls_made(self) -> int:
        counted = self.context.ledger.checkpoints.get(_CALLS) or {}
        return int(counted["made"]) if counted.get("day") == self._today else 0

    def _count(self, calls: int) -> None:
        made = {"day": self._today, "made": self._calls_made() + calls}
        self.context.ledger.checkpoints.save(_CALLS, made)

    def _save(self, value: dict[str, Any]) -> None:
        self._saved = value
        self.context.ledger.checkpoints.save(self.question.checkpoint, value)


def audit_daily(context: Context) -> tuple[int, int]:
    """Go on with the walk over everything, once a day; return how many days were compared and how many differ."""
    if context.sources is NOWHERE and not context.account_sources:
        return 0, 0
    walk = Walk(context, Question())
    if walk.is_fresh:
        return 0, 0
    compared = [finding.compared.verdict for finding in walk.findings() if finding.compared]
    return len(compared), sum(verdict in {Verdict.MISSING, Verdict.SURPLUS} for verdict in compared)
