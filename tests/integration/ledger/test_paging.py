"""Lists by pages. If these fail, a case that somebody looks for is on no page, and its usage is never billed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActFilter
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.case_list import CaseFilter, CaseOrder
from workers.kernel.ledger.event_list import EventFilter
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.paging import Page
from workers.kernel.ledger.tables import cases

DEADLINE = datetime(2026, 12, 1, tzinfo=UTC)
Next = Callable[[str | None], Page[str]]


def all_pages(after: Next) -> list[str]:
    """Every row of a list, page by page."""
    found: list[str] = []
    place: str | None = None
    while True:
        page = after(place)
        found += page.rows
        place = page.after
        if place is None:
            return found


def some_cases(ledger: Ledger, clock: FrozenClock, number: int) -> list[str]:
    """Cases of which three each were changed at once; some have a deadline and a size, equal ones among them."""
    ids = []
    for each in range(number):
        clock.turn(seconds=each % 3 == 0)
        case_id = open_case(ledger, a_failure(f"case {each}")).id
        with ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
            draft.move(a_movement(EntryKind.SEEN))
        day = DEADLINE + timedelta(days=each % 2)
        values = {"deadline": day, "urgent_at": day, "size": f"{each % 2:03}"} if each % 4 else {}
        state = CaseState.SETTLED if each % 8 == 0 else CaseState.NEEDS_PERSON
        with ledger.database.write() as connection:
            connection.execute(
                update(cases).where(cases.c.id == case_id).values(changed_at=clock(), state=state, **values)
            )
        ids.append(case_id)
    return ids


@pytest.mark.parametrize("order", CaseOrder)
def test_page_by_page_every_case_is_seen_once_in_every_order(
    ledger: Ledger, clock: FrozenClock, order: CaseOrder
) -> None:
    ids = some_cases(ledger, clock, 11)

    def page(after: str | None) -> Page[str]:
        found = ledger.case_list.page(CaseFilter(), order, 3, after)
        return Page([case.id for case in found.rows], found.after)

    paged = all_pages(page)
    assert paged == [case.id for case in ledger.case_list.find(CaseFilter(), order)]
    assert sorted(paged) == sorted(ids)


def test_what_is_lost_already_stands_after_what_can_be_saved_and_before_what_is_settled(
    sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    ids = some_cases(sqlite_ledger, clock, 9)
    listed = [case.id for case in sqlite_ledger.case_list.find(CaseFilter(), CaseOrder.RISK)]
    assert (listed[-3], set(listed[-2:])) == (ids[4], {ids[0], ids[8]})


def test_what_comes_in_meanwhile_moves_no_case_off_its_page(sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    some_cases(sqlite_ledger, clock, 6)
    lists = sqlite_ledger.case_list
    before = [case.id for case in lists.find(CaseFilter())]
    first = lists.page(CaseFilter(), limit=3)
    clock.turn(seconds=1)
    open_case(sqlite_ledger, a_failure("newer"))
    assert [case.id for case in lists.page(CaseFilter(), limit=3, after=first.after).rows] == before[3:]


@pytest.mark.parametrize("place", ["", "nonsense", "0~", "7~x~y", "2~x~y", "0~no time~case_1", "0~~"])
def test_a_place_that_makes_no_sense_is_the_beginning(
    sqlite_ledger: Ledger, clock: FrozenClock, place: str
) -> None:
    [case_id] = some_cases(sqlite_ledger, clock, 1)
    assert [case.id for case in sqlite_ledger.case_list.page(CaseFilter(), after=place).rows] == [case_id]


def test_failed_events_come_first_on_the_first_page_and_the_others_after_them(
    sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    for each in range(7):
        clock.turn(seconds=1)
        receipt = NewEvent(f"evt~{each}", "thin", "v1.billing.meter.no_meter_found", livemode=False, raw=b"{}")
        sqlite_ledger.events.record(receipt)
        if each in {1, 4}:
            sqlite_ledger.events.claim(receipt.id, "one", timedelta(minutes=5))
            sqlite_ledger.events.finish(receipt.id, "one", EventState.FAILED, "Stripe answered 403")

    def page(after: str | None) -> Page[str]:
        found = sqlite_ledger.event_list.page(EventFilter(), 2, after)
        return Page([event.id for event in found.rows], found.after)

    assert all_pages(page) == [f"evt~{each}" for each in (4, 1, 6, 5, 3, 2, 0)]


def test_acts_are_found_by_who_asked_for_what(sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    for each in range(5):
        clock.turn(seconds=1)
        sqlite_ledger.acts.ask("write_off" if each % 2 else "retry", None, {}, "ada" if each else "bob", f"{each}")

    def page(after: str | None) -> Page[str]:
        found = sqlite_ledger.acts.page(ActFilter(actor="ada", kind="retry"), 1, after)
        return Page([act.why for act in found.rows], found.after)

    assert all_pages(page) == ["4", "2"]
