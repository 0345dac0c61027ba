"""If these fail, the console, the sweeper or whoever is on call is told what the ledger does not hold."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.integration.ledger.test_events import a_receipt
from workers.kernel.errors import Conflict
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.chunks import StoredChunk
from workers.kernel.ledger.events import EventState, Origin
from workers.kernel.ledger.journal import EntryKind, RecordSetRef
from workers.kernel.ledger.submissions import Intent

LEASE = timedelta(minutes=5)


def test_events_are_counted_by_state_and_the_longest_wait_is_told(ledger: Ledger, clock: FrozenClock) -> None:
    assert ledger.queries.oldest_unprocessed() == timedelta(0)
    ledger.events.record(a_receipt("evt_1"))
    clock.turn(seconds=30)
    ledger.events.record(a_receipt("evt_2"))
    ledger.events.record(a_receipt("evt_3", ignored="irrelevant_type"))
    clock.turn(seconds=30)
    assert ledger.queries.event_counts() == {"received": 2, "ignored": 1}
    assert ledger.queries.oldest_unprocessed() == timedelta(seconds=60)
    ledger.events.claim("evt_1", "one", LEASE)
    assert ledger.queries.oldest_unprocessed() == timedelta(seconds=60)
    ledger.events.finish("evt_1", "one", EventState.DONE)
    assert ledger.queries.oldest_unprocessed() == timedelta(seconds=30)


def test_ignored_events_can_be_told_of_once(ledger: Ledger, clock: FrozenClock) -> None:
    started = clock.now
    assert ledger.events.ignored_since("livemode_mismatch", started) is None
    clock.turn(seconds=1)
    ledger.events.record(a_receipt("evt_1", ignored="livemode_mismatch"))
    clock.turn(seconds=1)
    ledger.events.record(a_receipt("evt_2", ignored="livemode_mismatch"))
    ledger.events.record(a_receipt("evt_3", ignored="irrelevant_type"))
    newest = clock.now
    assert ledger.events.ignored_since("livemode_mismatch", started) == (newest, 2)
    assert ledger.events.ignored_since("livemode_mismatch", newest) is None


def test_an_event_remembers_where_it_came_from(ledger: Ledger) -> None:
    ledger.events.record(a_receipt("evt_1", origin=Origin.RECONCILED, account="acct_2"))
    ledger.events.record(a_receipt("evt_2", account=None))
    found = ledger.events.get("evt_1")
    assert found is not None
    assert found.origin is Origin.RECONCILED
    assert ledger.queries.accounts() == ["acct_2"]


def test_the_first_event_of_an_account_dates_what_can_be_missing(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt("evt_1", account=None))
    first = clock.now
    clock.turn(days=1)
    ledger.events.record(a_receipt("evt_2", account="acct_1"))
    assert ledger.queries.earliest_event(None) == first
    assert ledger.queries.earliest_event("acct_1") == clock.now
    assert ledger.queries.earliest_event("acct_none") is None


def test_a_worker_that_dies_over_an_event_is_counted(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.events.record(a_receipt())
    assert ledger.events.claim("evt_1", "one", LEASE).deaths == 0
    clock.turn(minutes=6)
    assert ledger.events.claim("evt_1", "two", LEASE).deaths == 1
    ledger.events.postpone("evt_1", "two", clock.now, "Stripe answered 503")
    assert ledger.events.claim("evt_1", "three", LEASE).deaths == 1


def test_a_worker_that_dies_over_a_case_is_counted_until_the_case_goes_on(
    ledger: Ledger, clock: FrozenClock
) -> None:
    case = open_case(ledger, a_failure())
    dying = ledger.cases.hold(case.id, "one", LEASE)
    assert dying.__enter__().case.deaths == 0
    clock.turn(minutes=6)
    with ledger.cases.hold(case.id, "two", LEASE) as held:
        assert held.case.deaths == 1
        with held.transaction() as draft:
            draft.move(a_movement())
            draft.reschedule(clock.now)
        assert held.case.deaths == 0


def test_only_cases_that_work_has_given_up_on_are_stuck(ledger: Ledger, clock: FrozenClock) -> None:
    for key, trouble, due in (("stuck", "why", None), ("tried", "why", clock.now), ("waiting", None, None)):
        case = open_case(ledger, a_failure(key))
        with ledger.cases.hold(case.id, "one", LEASE) as held, held.transaction() as draft:
            if trouble:
                draft.record_failure(trouble, due)
            else:
                draft.reschedule(None)
    assert [case.failure.key for case in ledger.queries.stuck_cases()] == ["stuck"]


def test_cases_are_due_once_nobody_holds_them_and_the_oldest_first(ledger: Ledger, clock: FrozenClock) -> None:
    ids = []
    for key in ("a", "b", "c"):
        ids.append(open_case(ledger, a_failure(key)).id)
        clock.turn(seconds=10)
    assert [case.id for case in ledger.cases.due(10)] == ids
    with ledger.cases.hold(ids[0], "one", LEASE):
        assert [case.id for case in ledger.cases.due(10)] == ids[1:]


def test_chunks_tell_what_was_intended_and_what_was_answered(ledger: Ledger, clock: FrozenClock) -> None:
    case = open_case(ledger, a_failure())
    intent = Intent("sub_1", 1, "meter-events", 3, Decimal(3), ("api_calls",), RecordSetRef("sets/1", "0" * 64))
    with ledger.cases.hold(case.id, "one", LEASE) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 3, "3"))
        draft.submissions.intend(intent, 0)
    intended = clock.now
    ledger.chunks.intend(ledger.database.write, "sub_1", 0, 0, 2, {})
    ledger.chunks.intend(ledger.database.write, "sub_1", 1, 2, 1, {"id_3": ["would_overwrite", "look"]})
    clock.turn(seconds=1)
    ledger.chunks.finish("sub_1", 0, {"accepted": 2, "held": ["id_3"]})
    assert ledger.chunks.of("sub_1") == {
        0: StoredChunk(intended, {"accepted": 2, "held": ["id_3"]}, 0, 2, {}, None),
        1: StoredChunk(intended, None, 2, 1, {"id_3": ["would_overwrite", "look"]}, None),
    }
    assert [submission.id for submission in ledger.submissions.since(intended, None)] == ["sub_1"]
    assert ledger.submissions.since(clock.now, None) == []
    assert ledger.submissions.since(intended, "acct_of_somebody_else") == []


def test_what_was_not_intended_cannot_be_sent_or_settled(ledger: Ledger, clock: FrozenClock) -> None:
    case = open_case(ledger, a_failure())
    with ledger.cases.hold(case.id, "one", LEASE) as held:
        with pytest.raises(Conflict), held.transaction() as draft:
            draft.submissions.sent("sub_none", "file:///x", clock.now)
        with pytest.raises(Conflict), held.transaction() as draft:
            draft.submissions.settled("sub_none")


def test_a_checkpoint_is_where_work_goes_on(ledger: Ledger) -> None:
    assert ledger.checkpoints.get("reconcile") is None
    ledger.checkpoints.save("reconcile", {"page": "evt_1", "exact": "0.1"})
    ledger.checkpoints.save("reconcile", {"page": "evt_2"})
    ledger.checkpoints.save("other", [1])
    assert ledger.checkpoints.get("reconcile") == {"page": "evt_2"}
