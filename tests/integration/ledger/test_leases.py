"""If these fail, a restarted database makes innocent work look deadly, and a person has to free it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection

from tests.builders import a_failure, open_case
from tests.conftest import FrozenClock
from tests.integration.ledger.test_events import LEASE, a_receipt
from workers.kernel.errors import Conflict, LedgerUnavailable
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.events import EventState


class Outage:
    """Takes a process's way to the ledger away, and gives it back."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._write = ledger.database.write

    def begins(self) -> None:
        self._ledger.database.write = self._away  # type: ignore[method-assign, assignment]

    def ends(self) -> None:
        self._ledger.database.write = self._write  # type: ignore[method-assign]

    @contextmanager
    def lasts(self) -> Iterator[None]:
        self.begins()
        yield
        self.ends()

    def _away(self) -> AbstractContextManager[Connection]:
        raise LedgerUnavailable("the ledger closed the connection")


@pytest.fixture
def other(database_url: str, clock: FrozenClock) -> Iterator[Ledger]:
    """The ledger as another process sees it."""
    other = connect(database_url, clock)
    yield other
    other.close()


def test_an_event_whose_worker_outlives_an_outage_is_given_back(
    ledger: Ledger, other: Ledger, clock: FrozenClock
) -> None:
    for event_id in ("evt_1", "evt_2"):
        ledger.events.record(a_receipt(event_id))
    event = ledger.events.claim("evt_1", "one", LEASE)
    with Outage(ledger).lasts():
        with pytest.raises(LedgerUnavailable):
            ledger.events.finish("evt_1", "one", EventState.DONE)
        ledger.events.give_back(event, "one")
    with pytest.raises(Conflict):
        other.events.claim("evt_1", "two", LEASE)
    ledger.events.claim("evt_2", "three", LEASE)
    assert other.events.claim("evt_1", "two", LEASE).deaths == 0


def test_who_was_taken_for_dead_takes_his_death_back(ledger: Ledger, other: Ledger, clock: FrozenClock) -> None:
    """The outage was longer than the lease, so another worker has taken the event over meanwhile."""
    ledger.events.record(a_receipt())
    event = ledger.events.claim("evt_1", "one", LEASE)
    clock.turn(minutes=6)
    assert other.events.claim("evt_1", "two", LEASE).deaths == 1
    ledger.events.give_back(event, "one")
    taken_over = other.events.get("evt_1")
    assert taken_over is not None
    assert (taken_over.state, taken_over.deaths) == (EventState.PROCESSING, 0)
    other.events.finish("evt_1", "two", EventState.DONE)


def test_a_real_death_stays_counted_whoever_outlived_the_outage(
    ledger: Ledger, other: Ledger, clock: FrozenClock
) -> None:
    ledger.events.record(a_receipt())
    event = ledger.events.claim("evt_1", "one", LEASE)
    clock.turn(minutes=6)
    other.events.claim("evt_1", "dies", LEASE)
    clock.turn(minutes=6)
    other.events.claim("evt_1", "three", LEASE)
    ledger.events.give_back(event, "one")
    taken_over = other.events.get("evt_1")
    assert taken_over is not None
    assert taken_over.deaths == 1


def test_giving_back_an_ended_event_changes_nothing(ledger: Ledger) -> None:
    """The commit came through, only its answer was lost."""
    ledger.events.record(a_receipt())
    event = ledger.events.claim("evt_1", "one", LEASE)
    ledger.events.finish("evt_1", "one", EventState.DONE)
    ledger.events.give_back(event, "one")
    ended = ledger.events.get("evt_1")
    assert ended is not None
    assert ended.state is EventState.DONE


def test_a_case_whose_worker_outlives_an_outage_is_given_back(
    ledger: Ledger, other: Ledger, clock: FrozenClock
) -> None:
    case, next_case = (open_case(ledger, a_failure(key)).id for key in ("one", "next"))
    held = ledger.cases.hold(case, "one", LEASE)
    held.__enter__()
    with Outage(ledger).lasts():
        held.__exit__(None, None, None)
    with pytest.raises(Conflict), other.cases.hold(case, "two", LEASE):
        pytest.fail("held twice")
    with ledger.cases.hold(next_case, "three", LEASE):
        pass
    with other.cases.hold(case, "two", LEASE) as taken_up:
        assert taken_up.case.deaths == 0
