"""Charts by days. If these fail, a company believes that it recovers what it loses."""

from datetime import timedelta

from tests.builders import a_failure, a_movement
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import ROUTES, Bucket, EntryKind


def move(ledger: Ledger, kind: EntryKind, records: int, route: int = 0) -> None:
    with (
        ledger.cases.hold(a_failure(), "one", timedelta(minutes=5)) as held,
        held.transaction() as draft,
    ):
        from_bucket, to_bucket = ROUTES[kind][route]
        draft.move(a_movement(kind, records, str(records), from_bucket=from_bucket, to_bucket=to_bucket))


def test_each_day_shows_what_was_refused_and_recovered_on_it_and_what_waited_at_its_end(
    ledger: Ledger, clock: FrozenClock
) -> None:
    move(ledger, EntryKind.SEEN, 100)
    clock.turn(days=40)
    move(ledger, EntryKind.QUARANTINED, 100)
    clock.turn(days=1)
    move(ledger, EntryKind.REOPENED, 60, ROUTES[EntryKind.REOPENED].index((Bucket.QUARANTINED, Bucket.PENDING)))
    move(ledger, EntryKind.PLANNED, 60)
    move(ledger, EntryKind.INTENDED, 60)
    move(ledger, EntryKind.CONFIRMED, 60)
    clock.turn(days=2)
    move(ledger, EntryKind.SEEN, 7)
    move(ledger, EntryKind.UNDONE, 10, ROUTES[EntryKind.UNDONE].index((Bucket.CONFIRMED, Bucket.QUARANTINED)))
    found = ledger.days.last(5)
    assert [(day.refused, day.recovered, day.waiting) for day in found] == [
        (0, 0, 0),
        (0, 0, 100),
        (0, 60, 40),
        (0, 0, 40),
        (7, -10, 50),
    ]
    assert found[-1].day == clock().date()


def test_a_ledger_without_entries_has_quiet_days(ledger: Ledger) -> None:
    assert [(day.refused, day.recovered, day.waiting) for day in ledger.days.last(30)] == [(0, 0, 0)] * 30
