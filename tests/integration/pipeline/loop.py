"""The whole loop in one process: the twin in a thread, the real adapters, and a bucket that is a folder."""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from pydantic import SecretStr

from fixtures.twin import Twin
from tests.recording import RecordingAlerts, RecordingJobQueue
from workers.archive import Archive
from workers.kernel.clock import utc_now
from workers.kernel.errors import Conflict
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Balance
from workers.kernel.settings import Settings
from workers.kernel.storage import open_store
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver
from workers.pipeline.run import carry_on, process
from workers.remedies import Rules
from workers.sources import StoredUsageSources
from workers.stripe_api import LiveStripeApi
from workers.targets.files import FileTarget
from workers.targets.meter_events import MeterEventsTarget

WINDOW = 600
KEY = "sk_test_loop0001"


@dataclass
class SteeredClock:
    """The real time, and what a test adds to it."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    def turn(self, **by: float) -> None:
        self.ahead += timedelta(**by)


class Loop:
    """One company's metermend and its Stripe. `deliver` hands over what the twin has published."""

    def __init__(self, folder: Path, twin: Twin, ledger: Ledger, clock: SteeredClock, **settings: Any) -> None:
        self.twin, self.ledger, self.clock = twin, ledger, clock
        self.bucket, self.sources = folder / "bucket", folder / "sources"
        self.archive_url = str(folder / "archive")
        self.queue = RecordingJobQueue()
        self.context = self._context(folder, settings)
        self._handed_over: set[str] = set()

    def _context(self, folder: Path, settings: dict[str, Any]) -> Context:
        bases: dict[str, Any] = dict.fromkeys(
            ("stripe_api_base", "stripe_files_base", "stripe_meter_events_base"), self.twin.url
        )
        known = Settings(
            stripe_api_key=SecretStr(KEY),
            scratch_dir=folder / "scratch",
            confirmation_window=WINDOW,
            **bases,
            **settings,
        )
        return Context(
            settings=known,
            ledger=self.ledger,
            queue=self.queue,
            stripe=LiveStripeApi(known, sleep=lambda _: None),
            sources=StoredUsageSources((str(self.sources),), folder / "scratch" / "sources"),
            archive=Archive(open_store(self.archive_url), folder / "scratch"),
            target=FileTarget(f"file://{self.bucket}", pace_seconds=0, clock=self.clock),
            alerts=RecordingAlerts(),
            rules=Rules(),
            clock=self.clock,
        )

    def upload(self, name: str, text: str | bytes) -> None:
        """Let the sender upload a file: he keeps a copy, and the twin imports it."""
        data = text.encode() if isinstance(text, str) else text
        for place in (self.sources, self.bucket):
            place.mkdir(exist_ok=True)
            (place / name).write_bytes(data)
            os.utime(place / name, times=(self.clock().timestamp(),) * 2)
        self.stripe_works()

    def lose_customer(self, customer: str) -> None:
        """Let somebody delete a customer at Stripe."""
        requests.delete(f"{self.twin.url}/v1/customers/{customer}", auth=(KEY, ""), timeout=10).raise_for_status()

    def deny_totals(self) -> None:
        """Let the key not read Stripe's totals: what goes out is confirmed by silence."""
        self.twin.fail_next("status", path="*event_summaries", status=403, times=9)

    def stripe_works(self) -> None:
        """Let the twin import what lies in the bucket and publish its events, then work on all of them."""
        self.twin.poll()
        self.twin.publish()
        for event in self.twin.events():
            if event.id not in self._handed_over:
                self._handed_over.add(event.id)
                self.receive(event.delivered())
        self.work()

    def receive(self, delivered: dict[str, Any]) -> None:
        """Store an event as the web does."""
        self.ledger.events.record(read_envelope(json.dumps(delivered).encode(), livemode=False))

    def work(self) -> None:
        """Do everything that is due."""
        for event_id, _ in self.ledger.events.due(1000):
            with suppress(Conflict):
                process(self._new_owner(), event_id)
        for case in self.ledger.cases.due(1000):
            carry_on(self._new_owner(), case.id)
        while large := [case_id for case_id, _, is_large in self.queue.cases if is_large]:
            self.queue.cases = [job for job in self.queue.cases if job[0] != large[0]]
            carry_on(self._new_owner(), large[0])

    @property
    def alerts(self) -> RecordingAlerts:
        """What people were told, once the clock has had its turn."""
        deliver(self.context, quiet=timedelta(0))
        alerts = self.context.alerts
        assert isinstance(alerts, RecordingAlerts)
        return alerts

    def pass_window(self) -> None:
        """Let the confirmation window pass and do what is due then."""
        self.clock.turn(seconds=WINDOW + 1)
        self.work()

    @property
    def balance(self) -> Balance:
        """The journal over all cases."""
        return self.ledger.queries.balance()

    def cases(self) -> list[Case]:
        """Every case, oldest first."""
        found = (self.ledger.cases.get(case_id) for case_id in self.ledger.queries.case_ids())
        return [case for case in found if case is not None]

    def billed(self) -> dict[tuple[str, str], str]:
        """What the twin bills: (event name, customer) -> quantity."""
        return {(line["event_name"], line["customer"]): line["total"] for line in self.twin.billed()}

    def _new_owner(self) -> Context:
        return replace(self.context, owner=uuid4().hex)


def submit_by_api_too(loop: Loop) -> None:
    """Let the company name the API beside its folder: usage of pre-aggregated meters goes there."""
    loop.context = replace(loop.context, api_target=MeterEventsTarget(loop.context.stripe, loop.clock))


def name_no_sources(loop: Loop) -> None:
    """Let the company not say where its usage files lie."""
    loop.context = replace(loop.context, sources=StoredUsageSources((), loop.context.scratch / "no-sources"))


def usage(
    *rows: str, header: str = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"
) -> str:
    """Return a usage file in Stripe's CSV template; `{t}` in a row is an hour ago in epoch seconds."""
    an_hour_ago = str(int(time.time()) - 3600)
    return "\n".join([header, *rows, ""]).replace("{t}", an_hour_ago)


def change_meter(loop: Loop, change: str) -> None:
    """Let somebody `deactivate` or `reactivate` the company's meter."""
    (meter,) = loop.context.stripe.list_meters(None)
    address = f"{loop.twin.url}/v1/billing/meters/{meter['id']}/{change}"
    requests.post(address, auth=(KEY, ""), timeout=10).raise_for_status()
