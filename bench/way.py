"""The way of one event with one record, from Stripe's post to confirmed: what it enters, asks, writes and digests.

A thin event (a refused customer) and a snapshot event (a file refused whole) go through the real web application,
the jobs that RQ would run, and the adapters, with the twin in the place of Stripe and SQLite as the ledger. Another
event of its kind goes before each, so that what a process does only once is not counted.
"""

import hashlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any, Final

from bench.company import company, settings_of
from fixtures.twin import Twin
from fixtures.twin.signing import signature_header

SECRET: Final = "whsec_way"
WINDOW: Final = 1
"""Seconds that a submission must go unrefused."""
FILES: Final = {
    "thin": "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\n"
    "{id},{at},{meter}, cus_1,1\n",
    "snapshot": "Identifier,Timestamp,Event Name,Customer ID,Value\n{id},{at},{meter},cus_1,1\n",
}
TYPES: Final = {
    "thin": "v1.billing.meter.error_report_triggered",
    "snapshot": "data_management.import_set.failed",
}
_ROOT: Final = Path(__file__).resolve().parents[1]
_OURS: Final = tuple(f"{_ROOT / package}/" for package in ("workers", "webhooks"))


@dataclass
class Way:
    """What was met: functions of ours by their code, and how often something else was done."""

    functions: set[CodeType] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def see(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note the call of a function of ours, and whether another file made it."""
        if event != "call" or not frame.f_code.co_filename.startswith(_OURS):
            return
        self.functions.add(frame.f_code)
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(_OURS):
            caller = caller.f_back
        self.counts["moves"] += caller is None or caller.f_code.co_filename != frame.f_code.co_filename

    def figures(self) -> dict[str, int]:
        """Return the figures by name, in the order in which they are printed."""
        files = {code.co_filename for code in self.functions}
        counted = ("moves", "reads", "writes", "journal reads", "digests")
        return {"files": len(files), "functions": len(self.functions)} | {n: self.counts[n] for n in counted}


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Print a line for each kind of event and return the figures, which are the same in each round."""
    del full, rounds
    with TemporaryDirectory(prefix="metermend-way-") as folder, _company(Path(folder)) as twin:
        figures = {kind: _way(twin, Path(folder), kind).figures() for kind in FILES}
    if not quiet:
        for kind, found in figures.items():
            print(f"{kind:9}", ", ".join(f"{number} {name}" for name, number in found.items()))
    return figures


def _way(twin: Twin, folder: Path, kind: str) -> Way:
    way = Way()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # alerts and logs
        _send(twin, folder, kind, "tokens", Way())
        _send(twin, folder, kind, "api_requests", way)
    return way


@contextmanager
def _company(folder: Path) -> Iterator[Twin]:
    """Set up a company with two meters whose metermend is this process."""
    with company(folder, "tokens", "api_requests") as twin:
        os.environ |= settings_of(
            folder,
            twin.url,
            STRIPE_WEBHOOK_SECRETS=SECRET,
            CONSOLE_PASSWORD_HASH="pbkdf2:sha256:1$made$00",
            DATABASE_URL=f"sqlite:///{folder}/ledger.db",
            CONFIRMATION_WINDOW=str(WINDOW),
        )
        from workers.kernel.ledger.database import Database
        from workers.kernel.ledger.schema import upgrade

        upgrade(Database(os.environ["DATABASE_URL"]))
        yield twin


def _send(twin: Twin, folder: Path, kind: str, meter: str, way: Way) -> None:
    """Send a file with one faulty record, post the event that refuses it, and do its jobs until it is confirmed."""
    from tests.recording import RecordingJobQueue
    from webhooks.app import create_app
    from workers import jobs
    from workers.bootstrap import context
    from workers.kernel.clock import utc_now
    from workers.kernel.ledger.journal import Bucket
    from workers.kernel.settings import load

    text = FILES[kind].format(id=f"{kind}-{meter}", at=int(time.time()) - 3600, meter=meter)
    for place in ("sources", "bucket"):
        (folder / place / f"{kind}-{meter}.csv").write_text(text)
    old = {event.id for event in twin.events()}
    twin.poll()
    twin.publish()
    [told] = [e.delivered() for e in twin.events() if e.type == TYPES[kind] and e.id not in old]
    body, known = json.dumps(told).encode(), set(context().ledger.queries.case_ids())
    signature = signature_header(body, [SECRET], int(time.time()))
    client = create_app(load(), queue=RecordingJobQueue()).test_client()
    with _counted(way):
        answer = client.post("/webhooks", data=body, headers={"Stripe-Signature": signature})
        jobs.process_event(told["id"])
    assert answer.json == {"received": True}, answer.json
    [case_id] = set(context().ledger.queries.case_ids()) - known
    twin.poll()  # Stripe takes our file in, and counts it
    twin.publish()
    case = context().ledger.cases.get(case_id)
    assert case is not None
    assert case.due_at is not None
    time.sleep(max((case.due_at - utc_now()).total_seconds(), 0) + 0.1)
    with _counted(way):
        jobs.advance_case(case_id)
    case = context().ledger.cases.get(case_id)
    assert case is not None
    assert case.balance[Bucket.CONFIRMED].records == 1, case


@contextmanager
def _counted(way: Way) -> Iterator[None]:
    """Count what all threads do meanwhile."""
    from workers.kernel.ledger import cases
    from workers.kernel.ledger.database import Database

    with (
        _counting(way, "reads", Database, "read"),
        _counting(way, "writes", Database, "write"),
        _counting(way, "journal reads", cases, "journal_of"),
        _counting(way, "digests", hashlib, "file_digest"),
    ):
        threading.setprofile(way.see)
        sys.setprofile(way.see)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


@contextmanager
def _counting(way: Way, name: str, owner: Any, function: str) -> Iterator[None]:
    original = getattr(owner, function)

    def counted(*arguments: Any, **named: Any) -> Any:
        way.counts[name] += 1
        return original(*arguments, **named)

    setattr(owner, function, counted)
    try:
        yield
    finally:
        setattr(owner, function, original)
