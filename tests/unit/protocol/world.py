"""One company, its Stripe and its metermend in one process, where anything may die at any step.

The ledger, the archive, the pipeline and the meter events target are the real ones. Stripe is a double that knows
the truth: what it accepted, what it refused of that later, and therefore what it bills.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection

from tests.books import a_context
from tests.conftest import FrozenClock
from workers.kernel.clock import to_text
from workers.kernel.envelope import read_envelope
from workers.kernel.errors import Conflict, Transient
from workers.kernel.jobqueue import RecordingJobQueue
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.ledger import Ledger
from workers.kernel.ledger.movements import Bucket
from workers.pipeline.book import ORIGIN, records_in
from workers.pipeline.context import Context
from workers.pipeline.events import carry_on, process
from workers.pipeline.proving import prove
from workers.pipeline.reconciling import reconcile
from workers.records.identifiers import origin_of
from workers.records.schema import IDENTIFIER
from workers.sources import RecordingUsageSources
from workers.stripe_api import MeterEventReceipt, RecordingStripeApi
from workers.sweeper import sweep
from workers.targets import Target
from workers.targets.meter_events import MeterEventsTarget

METER = {
    "id": "mtr_1",
    "object": "billing.meter",
    "event_name": "api_calls",
    "status": "active",
    "default_aggregation": {"formula": "sum"},
    "event_time_window": None,
    "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
    "value_settings": {"event_payload_key": "value"},
}
MEMORY = timedelta(hours=24)
CODE = "meter_event_customer_not_found"


class Killed(BaseException):
    """The process is gone: no handler may do anything about it, as after kill -9."""


@dataclass
class Fuse:
    """Lets the process live for so many steps more, or so many calls of Stripe's.

    A step is one side of a commit or of a call: before it, inside it, after it.
    """

    steps: int | None = None
    calls: int | None = None
    dead: bool = False

    def step(self) -> None:
        if self.dead or self.steps == 0:
            self.dead = True
            raise Killed
        if self.steps is not None:
            self.steps -= 1

    def call(self) -> None:
        self.step()
        if self.calls == 0:
            self.dead = True
            raise Killed
        if self.calls is not None:
            self.calls -= 1


class MortalDatabase(Database):
    """A database whose client may die before a transaction, before its commit or right after it."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self.fuse = fuse

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.fuse.step()
        with super().write() as connection:
            yield connection
            self.fuse.step()
        self.fuse.step()


@dataclass
class Accepted:
    """Usage that Stripe took in; it is billed unless it was refused later."""

    identifier: str
    at: datetime
    refused: bool = False


@dataclass
class Truth(RecordingStripeApi):
    """Stripe: remembers identifiers and keys for a day, may lose answers, and refuses what it likes later."""

    clock: FrozenClock = field(default_factory=FrozenClock)
    fuse: Fuse = field(default_factory=Fuse)
    accepted: list[Accepted] = field(default_factory=list)
    keys: dict[str, tuple[datetime, MeterEventReceipt]] = field(default_factory=dict)
    unanswered: int = 0
    """How many of the next calls are carried out without an answer."""

    def create_meter_event(
        self, event: Mapping[str, Any], idempotency_key: str, account: str | None
    ) -> MeterEventReceipt:
        self.fuse.call()
        receipt = self._decide(str(event["identifier"]), idempotency_key)
        self.fuse.call()
        if self.unanswered:
            self.unanswered -= 1
            raise Transient("Stripe did not answer")
        return receipt

    def _decide(self, identifier: str, key: str) -> MeterEventReceipt:
        now = self.clock()
        if key in self.keys and now - self.keys[key][0] < MEMORY:
            return self.keys[key][1]
        if any(a.identifier == identifier and now - a.at < MEMORY for a in self.accepted):
            message = f"An event already exists with identifier {identifier}."
            receipt = MeterEventReceipt({"type": "invalid_request_error", "message": message})
        else:
            self.accepted.append(Accepted(identifier, now))
            receipt = MeterEventReceipt(None)
        self.keys[key] = (now, receipt)
        return receipt

    def billed(self) -> dict[str, int]:
        """How often each of the sender's records is billed."""
        times: dict[str, int] = {}
        for usage in self.accepted:
            origin, _ = origin_of(usage.identifier)
            times[origin] = times.get(origin, 0) + (not usage.refused)
        return times

    def report(self, identifiers: Collection[str], unnamed: int = 0) -> str:
        """Publish a validation report about these identifiers and some that it only counts."""
        number = len(self.events)
        start = self.clock() + timedelta(milliseconds=number)
        samples = [{"error_message": "No such customer.", "request": {"identifier": i}} for i in identifiers]
        count = len(samples) + unnamed
        reason = {
            "error_count": count,
            "error_types": [{"code": CODE, "error_count": count, "sample_errors": samples}],
        }
        data = {
            "reason": reason,
            "validation_start": to_text(start),
            "validation_end": to_text(start + timedelta(seconds=10)),
        }
        event = {
            "id": f"evt_{number}",
            "object": "v2.core.event",
            "type": "v1.billing.meter.error_report_triggered",
            "livemode": False,
            "created": to_text(self.clock()),
            "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
            "data": data,
        }
        self.events.append(event)
        return str(event["id"])


class World:
    """The company's usage, and the service that works on what Stripe refused of it."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        (folder / "ledger.db").write_bytes(migrated.read_bytes())
        self.clock, self.fuse = FrozenClock(), Fuse()
        self.stripe = Truth(clock=self.clock, fuse=self.fuse, meters=[METER], customers=[{"id": "cus_1"}])
        self.sources = RecordingUsageSources()
        self.queue = RecordingJobQueue()
        self.ledger = Ledger(MortalDatabase(f"sqlite:///{folder / 'ledger.db'}", self.fuse), self.clock)
        self.context = a_context(
            self.ledger,
            folder,
            self.clock,
            stripe=self.stripe,
            sources=self.sources,
            queue=self.queue,
            target=self.target(),
        )
        self.sent = 0
        self.undelivered: list[str] = []

    def target(self) -> Target:
        return MeterEventsTarget(self.stripe, self.clock)

    # What happens outside.

    def refuse_usage(self, customers: Collection[str], unnamed: int) -> None:
        """Let the sender send records that Stripe refuses, and Stripe publish it."""
        identifiers = [f"u{self.sent + n}" for n in range(len(customers))]
        self.sent += len(identifiers)
        rows = pl.DataFrame(
            {
                IDENTIFIER: identifiers,
                "timestamp": str(int(self.clock().timestamp()) - 60),
                "event_name": "api_calls",
                "payload_stripe_customer_id": list(customers),
                "payload_value": "1",
                "@row": range(1, len(identifiers) + 1),
                "@source": "usage.csv",
            }
        )
        self.sources.records = pl.concat([self.sources.records, rows], how="diagonal_relaxed")
        self.undelivered.append(self.stripe.report(identifiers, unnamed))

    def refuse_ours(self, which: Collection[int], unnamed: int) -> None:
        """Let Stripe refuse some of what it accepted of us."""
        billed = [usage for usage in self.stripe.accepted if not usage.refused]
        chosen = [billed[n % len(billed)] for n in which] if billed else []
        hidden = [usage for usage in billed if usage not in chosen][:unnamed]
        for usage in (*chosen, *hidden):
            usage.refused = True
        if chosen:
            self.undelivered.append(self.stripe.report(sorted({u.identifier for u in chosen}), len(hidden)))

    def deliver(self, event_id: str) -> None:
        """Let Stripe post an event, and the web store it and hint at it."""
        event = next(e for e in self.stripe.events if e["id"] == event_id)
        thin = {name: value for name, value in event.items() if name != "data"}
        receipt = read_envelope(json.dumps(thin).encode(), livemode=None)
        if self.ledger.events.record(receipt):
            self.queue.enqueue_event(receipt.id, 0)

    # What the service does.

    def work(self, steps: int | None = None, *, calls: int | None = None) -> bool:
        """Do what is hinted at; the process dies after so many steps or calls, and another one starts later.

        Return whether it lived to the end.
        """
        self.fuse.steps, self.fuse.calls = steps, calls
        try:
            while self.queue.events or self.queue.cases:
                self._next_job()
        except Killed:
            return False
        finally:
            self.fuse.steps, self.fuse.calls, self.fuse.dead = None, None, False
        return True

    def sweep(self) -> None:
        sweep(self.context)

    def reconcile(self) -> None:
        list(reconcile(self.context))

    def drain(self) -> None:
        """Let everything come to rest, without faults."""
        for event_id in self.undelivered:
            self.deliver(event_id)
        self.stripe.unanswered = 0
        for _ in range(60):
            self.clock.turn(minutes=31)
            self.sweep()
            self.work()
            if not self.in_flight():
                return

    def in_flight(self) -> int:
        """How much is not at rest: records on their way, and events that have not ended."""
        counts = self.ledger.queries.event_counts()
        return (
            self.ledger.queries.balance().in_flight.records
            + counts.get("received", 0)
            + counts.get("processing", 0)
        )

    def _next_job(self) -> None:
        try:
            if self.queue.events:
                process(self._context(), self.queue.events.pop(0)[0])
            else:
                carry_on(self._context(), self.queue.cases.pop(0)[0])
        except Conflict:
            pass

    def _context(self) -> Context:
        """Return a context of another owner for each piece of work, as `bootstrap` does."""
        fields = {name: getattr(self.context, name) for name in Context.__dataclass_fields__ if name != "owner"}
        return Context(**fields)

    # What must always hold.

    def check(self) -> None:
        """Nothing is lost, and nothing is billed twice."""
        twice = {origin: times for origin, times in self.stripe.billed().items() if times > 1}
        assert not twice, f"billed more than once: {twice}"
        broken = [(p.case_id, p.breach) for p in prove(self.ledger, self.context.archive) if p.breach]
        assert not broken, f"the book does not hold: {broken}"

    def check_at_rest(self) -> None:
        """Nothing is stuck, every refused record is in the book once, and what is confirmed is billed."""
        self.check()
        assert self.in_flight() == 0, "something is stuck"
        assert self.ledger.queries.event_counts().get("failed", 0) == 0
        stands = self._standing()
        assert sorted(stands) == sorted(f"u{n}" for n in range(self.sent)), "a refused record is lost or doubled"
        billed = self.stripe.billed()
        unbilled = [o for o, bucket in stands.items() if bucket is Bucket.CONFIRMED and billed.get(o) != 1]
        assert not unbilled, f"confirmed, but not billed: {unbilled}"

    def _standing(self) -> dict[str, Bucket]:
        stands: dict[str, Bucket] = {}
        for case_id in self.ledger.queries.case_ids():
            for bucket in Bucket:
                records = records_in(self.context, case_id, bucket)
                for origin in [] if records is None else records.select(ORIGIN).collect()[ORIGIN]:
                    assert origin not in stands, f"{origin} stands in {stands[origin]} and in {bucket}"
                    stands[origin] = bucket
        return stands
