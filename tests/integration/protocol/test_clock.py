"""If these fail, the clock process stops doing one of its duties and nobody notices."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from workers.kernel.clock import to_text
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.settings import load
from workers.pipeline.context import Context
from workers.schedule import Duty, duties, run
from workers.sources import StoredUsageSources


def a_clocked_context(ledger: Ledger, folder: Path, clock: FrozenClock, redis_url: str) -> Context:
    paths = {"scratch_dir": folder / "scratch", "archive_url": str(folder / "archive"), "redis_url": redis_url}
    settings = load({**paths, "sweep_interval": 0.05, "reconcile_interval": 0.05})
    event = {
        "id": "evt_missed",
        "object": "v2.core.event",
        "type": "v1.billing.meter.no_meter_found",
        "livemode": False,
        "created": to_text(clock.now),
    }
    return a_context(ledger, folder, clock, settings=settings, stripe=RecordingStripeApi(events=[event]))


def run_until(context: Context, done: threading.Event, seconds: float = 20.0) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(lambda: context, stop))
    thread.start()
    deadline = time.monotonic() + seconds
    while not done.is_set() and time.monotonic() < deadline:
        time.sleep(0.05)
        if context.ledger.events.get("evt_missed") and context.queue.waiting() >= 2:
            done.set()
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def test_the_clock_sweeps_and_reconciles_at_its_intervals(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, redis_url: str
) -> None:
    context = a_clocked_context(sqlite_ledger, tmp_path, clock, redis_url)
    sqlite_ledger.events.record(NewEvent("evt_lost", "thin", "v1.billing.meter.no_meter_found", False, b"{}"))
    clock.turn(minutes=1)
    done = threading.Event()
    run_until(context, done)
    assert done.is_set(), "the clock neither swept evt_lost nor found evt_missed"
    assert {Sign.CLOCK, Sign.ARCHIVE} <= sqlite_ledger.heartbeats.last().keys()


def test_duties_that_hang_hold_up_a_stop_once_and_not_one_after_the_other(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops the clock would lose patience, and kill it."""
    hanging, stop = threading.Event(), threading.Event()
    monkeypatch.setattr("workers.schedule.LAST_SECONDS", 0.2)
    monkeypatch.setattr("workers.schedule.duties", lambda *_: [Duty(str(n), 60, hanging.wait) for n in range(9)])
    threading.Timer(0.1, stop.set).start()
    begun = time.monotonic()
    run(lambda: a_context(sqlite_ledger, tmp_path, clock), stop)
    assert time.monotonic() - begun < 1
    hanging.set()


def test_a_duty_that_fails_holds_up_no_other(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    context = a_clocked_context(sqlite_ledger, tmp_path, clock, nowhere)
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(lambda: context, stop))
    thread.start()
    deadline = time.monotonic() + 20
    while sqlite_ledger.events.get("evt_missed") is None and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join(20)
    assert sqlite_ledger.events.get("evt_missed") is not None


def test_the_clock_makes_new_usage_files_of_each_account_ready(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    """The first case after a quiet day would read all that came in between."""
    context = a_clocked_context(sqlite_ledger, tmp_path, clock, "redis://127.0.0.1:1/0")
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "day.csv").write_text(f"identifier,timestamp,event_name\n{name},1795250000,calls\n")
    ours, theirs = (StoredUsageSources([str(tmp_path / name)], tmp_path / "cache") for name in ("ours", "theirs"))
    known = replace(context, sources=ours, account_sources={"acct_1": theirs})
    for duty in duties(lambda: known, threading.Event()):
        if duty.name.startswith("prepare"):
            duty.work()
    assert len(list((tmp_path / "cache").rglob("*.index"))) == 2
