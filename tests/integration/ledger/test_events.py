"""If these fail, an event that Stripe believes delivered is lost or worked on twice."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import FrozenClock
from workers.kernel.errors import Conflict
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState, NewEvent

LEASE = timedelta(minutes=5)


def a_receipt(event_id: str = "evt_1", **changes: object) -> NewEvent:
    fields: dict[str, object] = {
        "id": event_id,
        "kind": "snapshot",
        "type": "data_management.import_set.failed",
        "livemode": False,
        "raw": b'{"id": "evt_1"}\xff\x00',
        "account": "acct_1",
        "object_id": "impset_1",
        "created_at": datetime(2026, 11, 21, 9, 29, 59, 123456, tzinfo=UTC),
    }
    return NewEvent(**(fields | changes))  # type: ignore[arg-type]


def test_an_event_comes_back_as_it_was_received(ledger: Ledger, clock: FrozenClock) -> None:
    assert ledger.events.record(a_receipt())
    event = ledger.events.get("evt_1")
    assert event is not None
    assert event.raw == b'{"id": "evt_1"}\xff\x00'
    assert event.created_at == datetime(2026, 11, 21, 9, 29, 59, 123456, tzinfo=UTC)
    assert (event.account, event.object_id, event.livemode) == ("acct_1", "impset_1", False)
    assert (event.state, event.attempts, event.received_at) == (EventState.RECEIVED, 0, clock.now)


def test_a_second_delivery_of_an_id_changes_nothing(ledger: Ledger) -> None:
    assert ledger.events.record(a_receipt())
    assert not ledger.events.record(a_receipt(raw=b"other", type="ping"))
    event = ledger.events.get("evt_1")
    assert event is not None
    assert event.type == "data_management.import_set.failed"
    assert event.raw != b"other"


def test_of_a_group_with_known_and_double_ids_each_is_stored_once_as_it_came_first(ledger: Ledger) -> None:
    """Stripe delivers again after an outage: one known id must not cost the others of its group."""
    ledger.events.record(a_receipt("evt_known"))
    group = [
        a_receipt("evt_new", raw=b"first"),
        a_receipt("evt_known", raw=b"other"),
        a_receipt("evt_new", raw=b"second"),
        *(a_receipt(f"evt_ignored_{number}", ignored="irrelevant_type") for number in range(40)),
    ]
    assert ledger.events.record_together(group) == [True, False, False, *[True] * 40]
    stored = ledger.events.of(["evt_new", "evt_known"])
    assert [stored[event_id].raw for event_id in ("evt_new", "evt_known")] == [b"first", a_receipt().raw]
    assert ledger.events.record_together(group) == [False] * 43
    assert ledger.queries.event_counts() == {"received": 2, "ignored": 40}


def test_an_event_of_a_group_comes_back_as_it_was_received(ledger: Ledger, clock: FrozenClock) -> None:
    """PostgreSQL takes a group in a format that has signs of its own: a misread word loses the event."""
    odd = {"raw": bytes(range(256)) * 20, "account": r"\N", "object_id": r"a\tb\.", "type": "Grüße; --'\"$1%s"}
    group = [a_receipt("evt_odd", **odd), a_receipt(r"\.", account=None, created_at=None, large=True)]
    assert ledger.events.record_together(group) == [True, True]
    stored = ledger.events.of(["evt_odd", r"\."])
    assert {name: getattr(stored["evt_odd"], name) for name in odd} == odd
    last = stored[r"\."]
    assert (last.account, last.created_at, last.large, last.received_at) == (None, None, True, clock.now)
    assert (last.state, last.attempts, last.deaths, last.origin) == (EventState.RECEIVED, 0, 0, "delivered")


def test_an_ignored_event_is_kept_with_its_reason_and_is_never_due(ledger: Ledger) -> None:
    ledger.events.record(a_receipt(ignored="irrelevant_type"))
    event = ledger.events.get("evt_1")
    assert event is not None
    assert (event.state, event.reason) == (EventState.IGNORED, "irrelevant_type")
    assert ledger.events.due(10) == []
    with pytest.raises(Conflict):
        ledger.events.claim("evt_1", "worker", LEASE)


def test_one_worker_holds_an_event_until_its_lease_ends(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt())
    assert ledger.events.claim("evt_1", "one", LEASE).attempts == 1
    with pytest.raises(Conflict):
        ledger.events.claim("evt_1", "two", LEASE)
    assert ledger.events.due(10) == []
    clock.turn(minutes=5)
    assert ledger.events.due(10) == [("evt_1", 1)]
    assert ledger.events.claim("evt_1", "two", LEASE).attempts == 2


def test_a_renewed_lease_keeps_an_event_from_others(ledger: Ledger, clock: FrozenClock) -> None:
    """A file that takes longer than a lease would be worked on twice, and then be taken for deadly."""
    ledger.events.record(a_receipt())
    ledger.events.claim("evt_1", "first", LEASE)
    clock.turn(seconds=LEASE.total_seconds() - 1)
    ledger.events.renew("evt_1", "first", LEASE)
    clock.turn(seconds=LEASE.total_seconds() - 1)
    with pytest.raises(Conflict):
        ledger.events.claim("evt_1", "second", LEASE)
    with pytest.raises(Conflict):
        ledger.events.renew("evt_1", "second", LEASE)


def test_who_lost_the_lease_cannot_end_the_event(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt())
    ledger.events.claim("evt_1", "one", LEASE)
    clock.turn(minutes=5)
    ledger.events.claim("evt_1", "two", LEASE)
    with pytest.raises(Conflict):
        ledger.events.finish("evt_1", "one", EventState.DONE)
    with pytest.raises(Conflict):
        ledger.events.postpone("evt_1", "one", clock.now, "too late")
    ledger.events.finish("evt_1", "two", EventState.DONE)
    event = ledger.events.get("evt_1")
    assert event is not None
    assert event.state is EventState.DONE


def test_an_ended_event_is_not_taken_up_again(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt())
    ledger.events.claim("evt_1", "one", LEASE)
    ledger.events.finish("evt_1", "one", EventState.FAILED, "poison")
    clock.turn(days=1)
    with pytest.raises(Conflict):
        ledger.events.claim("evt_1", "two", LEASE)
    with pytest.raises(Conflict):
        ledger.events.finish("evt_1", "one", EventState.DONE)


def test_a_postponed_event_is_due_at_its_time_and_remembers_why(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt())
    ledger.events.claim("evt_1", "one", LEASE)
    ledger.events.postpone("evt_1", "one", clock.now + timedelta(seconds=30), "Stripe answered 503")
    assert ledger.events.due(10) == []
    clock.turn(seconds=30)
    assert ledger.events.due(10) == [("evt_1", 1)]
    event = ledger.events.get("evt_1")
    assert event is not None
    assert event.reason == "Stripe answered 503"


def test_due_leaves_out_what_was_just_enqueued_and_puts_the_oldest_first(
    ledger: Ledger, clock: FrozenClock
) -> None:
    for number in range(3):
        ledger.events.record(a_receipt(f"evt_{number}"))
        clock.turn(seconds=10)
    assert [event_id for event_id, _ in ledger.events.due(10, quiet=timedelta(seconds=20))] == ["evt_0", "evt_1"]
    assert [event_id for event_id, _ in ledger.events.due(1)] == ["evt_0"]


def test_an_operator_may_take_up_a_failed_event_but_not_one_in_work(ledger: Ledger) -> None:
    ledger.events.record(a_receipt())
    ledger.events.claim("evt_1", "one", LEASE)
    assert not ledger.events.retry("evt_1")
    ledger.events.finish("evt_1", "one", EventState.FAILED, "poison")
    assert ledger.events.retry("evt_1")
    assert ledger.events.due(10) == [("evt_1", 0)]


def test_known_tells_which_ids_are_held(ledger: Ledger) -> None:
    ledger.events.record(a_receipt("evt_1"))
    assert ledger.events.known(["evt_1", "evt_2"]) == {"evt_1"}
    assert ledger.events.known([]) == set()
