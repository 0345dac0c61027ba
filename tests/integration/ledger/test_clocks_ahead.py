"""If these fail, a clock that is ahead for a moment puts refused usage out of reach, for days or years."""

from datetime import timedelta

import pytest

from tests.builders import a_failure, open_case
from tests.conftest import FrozenClock
from tests.integration.ledger.test_events import a_receipt
from workers.kernel.errors import Conflict
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.leases import LONGEST_WAIT

LEASE = timedelta(minutes=5)
AHEAD = [timedelta(hours=3), *(timedelta(days=days) for days in (1, 2, 7, 20, 35, 40, 365, 400, 3650, 36_500))]
IDS = [f"{ahead.total_seconds() / 86_400:g} days ahead" for ahead in AHEAD]
ahead_by = pytest.mark.parametrize("ahead", AHEAD, ids=IDS)


def turned(clock: FrozenClock, ahead: timedelta) -> None:
    clock.now += ahead


@ahead_by
def test_an_event_that_was_received_then_is_due_now(ledger: Ledger, clock: FrozenClock, ahead: timedelta) -> None:
    turned(clock, ahead)
    ledger.events.record(a_receipt())
    turned(clock, -ahead)
    assert ledger.events.due(10, quiet=timedelta(seconds=10)) == [("evt_1", 0)]
    assert ledger.events.claim("evt_1", "worker", LEASE).deaths == 0
    assert ledger.queries.oldest_unprocessed() == timedelta(0)


@ahead_by
def test_an_event_that_was_claimed_then_can_be_claimed_now(
    ledger: Ledger, clock: FrozenClock, ahead: timedelta
) -> None:
    ledger.events.record(a_receipt())
    turned(clock, ahead)
    ledger.events.claim("evt_1", "dies", LEASE)
    turned(clock, -ahead)
    assert ledger.events.claim("evt_1", "worker", LEASE).deaths == 1


@ahead_by
def test_an_event_that_was_claimed_then_can_be_retried_now(
    ledger: Ledger, clock: FrozenClock, ahead: timedelta
) -> None:
    """`retry` said that it was processing already, for 20 days."""
    ledger.events.record(a_receipt())
    turned(clock, ahead)
    ledger.events.claim("evt_1", "dies", LEASE)
    turned(clock, -ahead)
    assert ledger.events.retry("evt_1")
    assert ledger.events.claim("evt_1", "worker", LEASE).attempts == 1


@ahead_by
def test_an_event_that_was_postponed_then_is_due_now(ledger: Ledger, clock: FrozenClock, ahead: timedelta) -> None:
    ledger.events.record(a_receipt())
    turned(clock, ahead)
    ledger.events.claim("evt_1", "worker", LEASE)
    ledger.events.postpone("evt_1", "worker", clock() + timedelta(minutes=15), "Stripe is away")
    turned(clock, -ahead)
    assert ledger.events.due(10) == [("evt_1", 1)]


@ahead_by
def test_a_case_that_was_held_then_can_be_held_now(ledger: Ledger, clock: FrozenClock, ahead: timedelta) -> None:
    case_id = open_case(ledger, a_failure()).id
    turned(clock, ahead)
    dying = ledger.cases.hold(case_id, "dies", LEASE)
    dying.__enter__()
    turned(clock, -ahead)
    assert [(case.id, case.version) for case in ledger.cases.due(10)] == [(case_id, 0)]
    with ledger.cases.hold(case_id, "worker", LEASE) as held:
        assert held.case.deaths == 1


@ahead_by
def test_a_case_that_was_written_then_is_due_now(ledger: Ledger, clock: FrozenClock, ahead: timedelta) -> None:
    case_id = open_case(ledger, a_failure()).id
    turned(clock, ahead)
    with ledger.cases.hold(case_id, "worker", LEASE) as held, held.transaction() as transaction:
        transaction.reschedule(clock() + timedelta(minutes=30))
    turned(clock, -ahead)
    assert [(case.id, case.version) for case in ledger.cases.due(10)] == [(case_id, 0)]


def test_a_case_that_waits_for_nothing_is_not_due_whoever_wrote_it(ledger: Ledger, clock: FrozenClock) -> None:
    case_id = open_case(ledger, a_failure()).id
    turned(clock, timedelta(days=20))
    with ledger.cases.hold(case_id, "worker", LEASE) as held, held.transaction() as transaction:
        transaction.reschedule(None)
    turned(clock, -timedelta(days=20))
    assert ledger.cases.due(10) == []


@pytest.mark.parametrize("wait", [timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=1), LONGEST_WAIT])
def test_a_wait_that_may_be_real_is_kept(ledger: Ledger, clock: FrozenClock, wait: timedelta) -> None:
    """Taking a lease that is real would have two workers send the same."""
    ledger.events.record(a_receipt())
    ledger.events.claim("evt_1", "worker", wait)
    with pytest.raises(Conflict):
        ledger.events.claim("evt_1", "other", wait)
    assert not ledger.events.retry("evt_1")
    ledger.events.finish("evt_1", "worker", EventState.DONE)


def test_who_held_it_with_a_clock_ahead_and_lives_loses_it(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt())
    turned(clock, timedelta(days=20))
    ledger.events.claim("evt_1", "ahead", LEASE)
    turned(clock, -timedelta(days=20))
    ledger.events.claim("evt_1", "worker", LEASE)
    with pytest.raises(Conflict):
        ledger.events.finish("evt_1", "ahead", EventState.DONE)


AN_HOUR = timedelta(hours=1)


def test_no_event_is_held_longer_than_a_lease_whatever_a_clock_wrote(ledger: Ledger, clock: FrozenClock) -> None:
    """A clock that was ahead by an hour held it for an hour."""
    ledger.events.record(a_receipt())
    turned(clock, AN_HOUR)
    ledger.events.claim("evt_1", "dies", LEASE)
    turned(clock, -AN_HOUR)
    assert ledger.events.due(10, lease=LEASE) == [("evt_1", 1)]
    assert ledger.events.claim("evt_1", "worker", LEASE).deaths == 1


def test_no_case_is_held_longer_than_a_lease_whatever_a_clock_wrote(ledger: Ledger, clock: FrozenClock) -> None:
    case = open_case(ledger, a_failure())
    turned(clock, AN_HOUR)
    dies = ledger.cases.hold(case.id, "dies", LEASE)
    dies.__enter__()
    turned(clock, -AN_HOUR)
    assert [due.id for due in ledger.cases.due(10, LEASE)] == [case.id]
    with ledger.cases.hold(case.id, "worker", LEASE) as held:
        assert held.case.deaths == 1


def test_an_event_that_waits_for_an_hour_is_left_alone_for_it(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt())
    ledger.events.claim("evt_1", "worker", LEASE)
    ledger.events.postpone("evt_1", "worker", clock() + AN_HOUR, "Stripe asks us to")
    assert ledger.events.due(10, lease=LEASE) == []
    with pytest.raises(Conflict):
        ledger.events.claim("evt_1", "another", LEASE)


def test_a_clock_that_is_a_little_ahead_keeps_what_it_holds(ledger: Ledger, clock: FrozenClock) -> None:
    case = open_case(ledger, a_failure())
    turned(clock, timedelta(minutes=4))
    with ledger.cases.hold(case.id, "ahead", LEASE):
        turned(clock, timedelta(minutes=-4))
        assert ledger.cases.due(10, LEASE) == []
        with pytest.raises(Conflict), ledger.cases.hold(case.id, "another", LEASE):
            pass
