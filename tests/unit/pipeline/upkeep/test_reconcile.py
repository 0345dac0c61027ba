"""If these fail, what Stripe could not deliver stays unknown to us, or is worked on twice."""

import json
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue, RecordingStripeApi
from workers.kernel.clock import to_text
from workers.kernel.errors import Permanent, Transient
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.events import EventState, NewEvent, Origin
from workers.pipeline.context import Context
from workers.pipeline.upkeep.reconcile import OVERLAP, Look, reconcile, start_from_now


@dataclass
class BreakingStripe(RecordingStripeApi):
    """Breaks off each thin list after `after` events, or refuses one account. `theirs` is the list of acct_2."""

    after: int | None = None
    forbidden: str | None = None
    theirs: list[dict[str, Any]] = field(default_factory=list)

    def thin_events(self, types: Collection[str], since: datetime, account: str | None) -> Iterator[dict[str, Any]]:
        if account is not None and account == self.forbidden:
            raise Permanent("the account has been disconnected")
        if account is not None:
            yield from self.theirs if account == "acct_2" else ()
            return
        for number, event in enumerate(super().thin_events(types, since, account)):
            if number == self.after:
                raise Transient("Stripe could not be reached")
            yield event


@pytest.fixture
def stripe(clock: FrozenClock) -> BreakingStripe:
    """Five thin events, an hour apart, the newest an hour old; and two snapshots."""
    thin = [a_thin_event(f"evt_thin_{n}", clock.now - timedelta(hours=n)) for n in range(5, 0, -1)]
    snapshots = [a_snapshot(f"evt_snap_{n}", clock.now - timedelta(days=n)) for n in (3, 1)]
    return BreakingStripe(events=[*thin, *snapshots])


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, stripe: BreakingStripe) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock, stripe=stripe)


def a_thin_event(event_id: str, created: datetime) -> dict[str, Any]:
    return {
        "id": event_id,
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": False,
        "created": to_text(created),
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
        "data": {"reason": {"error_count": 1, "weight": Decimal("0.1")}},
    }


def a_snapshot(event_id: str, created: datetime) -> dict[str, Any]:
    subject = {"id": "impset_1", "object": "data_management.import_set", "status": "failed"}
    return {
        "id": event_id,
        "object": "event",
        "type": "data_management.import_set.failed",
        "livemode": False,
        "created": int(created.timestamp()),
        "data": {"object": subject},
    }


def jobs(context: Context) -> list[str]:
    assert isinstance(context.queue, RecordingJobQueue)
    return [event_id for event_id, _ in (*context.queue.events, *context.queue.large_events)]


def by_kind(looks: Iterator[Look]) -> dict[str, Look]:
    return {look.kind: look for look in looks if look.account is None}


def test_what_never_arrived_is_recorded_and_hinted_at_once(context: Context) -> None:
    looks = by_kind(reconcile(context))
    assert (looks["thin"].recorded, looks["snapshot"].recorded) == (5, 2)
    assert sorted(jobs(context)) == sorted(event["id"] for event in context.stripe.events)  # type: ignore[attr-defined]
    event = context.ledger.events.get("evt_thin_1")
    assert event is not None
    assert (event.origin, event.state, event.kind) == (Origin.RECONCILED, EventState.RECEIVED, "thin")
    assert event.raw is not None
    assert json.loads(event.raw)["data"] == {"reason": {"error_count": 1, "weight": "0.1"}}
    again = by_kind(reconcile(context))
    assert (again["thin"].recorded, again["snapshot"].recorded) == (0, 0)
    assert len(jobs(context)) == 7


def test_an_event_that_was_delivered_is_left_as_it_is(context: Context) -> None:
    delivered = NewEvent("evt_thin_2", "thin", "v1.billing.meter.error_report_triggered", False, b"{}")
    context.ledger.events.record(delivered)
    assert by_kind(reconcile(context))["thin"].recorded == 4
    event = context.ledger.events.get("evt_thin_2")
    assert event is not None
    assert (event.origin, event.raw) == (Origin.DELIVERED, b"{}")
    assert "evt_thin_2" not in jobs(context)


def test_a_look_that_breaks_off_keeps_what_it_found_and_goes_on_from_there(
    context: Context, stripe: BreakingStripe, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.pipeline.upkeep.reconcile.BATCH", 1)
    stripe.after = 3
    broken = by_kind(reconcile(context))["thin"]
    assert (broken.recorded, broken.trouble) == (3, "Stripe could not be reached")
    stripe.after = None
    resumed = by_kind(reconcile(context))["thin"]
    assert resumed.since == clock.now - timedelta(hours=3) - OVERLAP
    assert (resumed.recorded, resumed.trouble) == (2, None)


def test_an_event_that_shows_late_in_the_list_is_still_found(
    context: Context, stripe: BreakingStripe, clock: FrozenClock
) -> None:
    list(reconcile(context))
    stripe.events.append(a_thin_event("evt_late", clock.now - timedelta(minutes=50)))
    assert by_kind(reconcile(context))["thin"].recorded == 1


def test_a_look_from_a_named_time_leaves_no_gap_behind(
    context: Context, stripe: BreakingStripe, clock: FrozenClock
) -> None:
    looks = by_kind(reconcile(context, clock.now - timedelta(hours=2)))
    assert looks["thin"].recorded == 2
    assert by_kind(reconcile(context))["thin"].recorded == 3


def test_connected_accounts_are_compared_too_and_one_that_is_gone_stops_no_other(
    context: Context, stripe: BreakingStripe
) -> None:
    for account in ("acct_1", "acct_2"):
        receipt = NewEvent(
            f"evt_{account}", "thin", "ping", False, b"{}", account=account, ignored="irrelevant_type"
        )
        context.ledger.events.record(receipt)
    stripe.forbidden = "acct_1"
    looks = {(look.account, look.kind): look for look in reconcile(context)}
    assert looks["acct_1", "thin"].trouble == "the account has been disconnected"
    assert looks["acct_2", "thin"].trouble is None
    assert len(looks) == 6


def test_an_event_of_a_connected_account_keeps_it_though_the_list_does_not_say_it(
    context: Context, stripe: BreakingStripe, clock: FrozenClock
) -> None:
    receipt = NewEvent("evt_x", "thin", "ping", False, b"{}", account="acct_2", ignored="irrelevant_type")
    context.ledger.events.record(receipt)
    stripe.theirs = [a_thin_event("evt_theirs", clock.now)]
    list(reconcile(context))
    event = context.ledger.events.get("evt_theirs")
    assert event is not None
    assert event.account == "acct_2"


def test_events_are_kept_while_redis_is_away(context: Context) -> None:
    context.queue.away = True  # type: ignore[attr-defined]
    assert by_kind(reconcile(context))["thin"].recorded == 5
    assert len(context.ledger.events.due(10)) == 7


def test_a_new_installation_does_not_take_up_what_was_refused_before_it(context: Context) -> None:
    start_from_now(context)
    assert by_kind(reconcile(context))["snapshot"].recorded == 0
    assert by_kind(reconcile(context, context.clock() - timedelta(days=30)))["snapshot"].recorded == 2


def test_a_first_look_covers_an_outage_since_the_first_event(context: Context, clock: FrozenClock) -> None:
    clock.turn(days=-2)
    context.ledger.events.record(NewEvent("evt_first", "thin", "ping", False, b"{}", ignored="irrelevant_type"))
    clock.turn(days=2)
    start_from_now(context)
    assert by_kind(reconcile(context))["thin"].recorded == 5


@pytest.mark.parametrize("ahead", [0.1, 0.5, 1, 2, 3, 5, 10, 20, 29, 31, 100, 4000])
def test_a_round_of_a_clock_that_was_ahead_hides_nothing(
    context: Context, stripe: BreakingStripe, clock: FrozenClock, ahead: float
) -> None:
    """Events whose delivery failed then were lost for good: no later look went back to them."""
    start_from_now(context)
    stripe.time = clock.now
    list(reconcile(context))
    clock.turn(days=ahead)
    list(reconcile(context))
    clock.turn(days=-ahead, hours=2)
    stripe.events.append(a_thin_event("evt_undelivered", clock.now))
    clock.turn(hours=1)
    stripe.time = clock.now
    assert by_kind(reconcile(context))["thin"].recorded == 1


def test_a_clock_that_is_far_ahead_does_not_shorten_how_far_back_a_look_goes(
    context: Context, stripe: BreakingStripe, clock: FrozenClock
) -> None:
    stripe.time = clock.now
    clock.turn(days=40)
    assert by_kind(reconcile(context))["thin"].recorded == 5


def test_a_checkpoint_that_lies_ahead_is_pulled_back(
    context: Context, stripe: BreakingStripe, clock: FrozenClock
) -> None:
    """An older release may have written it: everything since the first event is looked at again."""
    context.ledger.events.record(NewEvent("evt_0", "thin", "ping", False, b"{}", ignored="irrelevant_type"))
    for kind in ("thin", "snapshot"):
        context.ledger.checkpoints.save(f"reconcile:{kind}:", to_text(clock.now + timedelta(days=20)))
    clock.turn(hours=6)
    stripe.events.append(a_thin_event("evt_missed", clock.now - timedelta(hours=5)))
    stripe.time = clock.now
    assert by_kind(reconcile(context))["thin"].recorded == 2
    assert by_kind(reconcile(context))["thin"].since == clock.now - OVERLAP


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    errors=st.lists(st.floats(-60, 400, allow_nan=False), min_size=1, max_size=5),
    created=st.lists(st.integers(0, 40), min_size=1, max_size=6),
)
def test_whatever_the_clock_showed_every_event_is_found_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, errors: list[float], created: list[int]
) -> None:
    """Rounds an hour apart under clocks that are wrong by so many days, and events that are never delivered."""
    clock, stripe = FrozenClock(), BreakingStripe()
    folder = tmp_path_factory.mktemp("clocks")
    shutil.copy(migrated_sqlite, folder / "ledger.db")
    ledger = connect(f"sqlite:///{folder / 'ledger.db'}", clock)
    context = a_context(ledger, folder, clock, stripe=stripe)
    began = clock.now
    ledger.events.record(NewEvent("evt_0", "thin", "ping", False, b"{}", ignored="irrelevant_type"))
    for round_, error in enumerate([*errors, 0.0]):
        now = began + timedelta(hours=10 * round_ + 10)
        for number, hours in enumerate(created):
            event = a_thin_event(f"evt_{number}", began + timedelta(hours=hours + 1))
            if event not in stripe.events and began + timedelta(hours=hours + 1) <= now:
                stripe.events.append(event)
        stripe.time, clock.now = now, now + timedelta(days=error)
        start_from_now(context)
        list(reconcile(context))
    published = {event["id"] for event in stripe.events}
    assert ledger.events.known(sorted(published)) == published
    ledger.close()


def test_our_own_account_is_not_compared_twice(context: Context, stripe: BreakingStripe) -> None:
    receipt = NewEvent("evt_x", "thin", "ping", False, b"{}", account="acct_own", ignored="irrelevant_type")
    context.ledger.events.record(receipt)
    stripe.own_id = "acct_own"
    assert {look.account for look in reconcile(context)} == {None}
