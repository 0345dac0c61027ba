"""If these fail, usage whose customer or meter has come goes on waiting until it is too old, or is billed twice."""

from dataclasses import replace

from tests.integration.pipeline.loop import Loop, change_meter, usage
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Bucket
from workers.remedies import parse_rules

LATE = "use-1,{t},api_requests,cus_late,40"
WAIT = parse_rules('[[archived_meters]]\nmeter = "api_requests"\nwait = true')


def entries_of(loop: Loop) -> int:
    return sum(len(loop.ledger.queries.entries(case.id)) for case in loop.cases())


def test_usage_of_a_customer_who_is_created_later_is_billed_once(loop: Loop) -> None:
    loop.upload("day.csv", usage(LATE, "use-2,{t},api_requests,cus_never,2"))
    assert loop.balance[Bucket.QUARANTINED].records == 2
    loop.twin.add_customers(["cus_late"], tell=True)
    loop.stripe_works()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_late"): "40"}
    assert loop.balance[Bucket.CONFIRMED].records == loop.balance[Bucket.QUARANTINED].records == 1


def test_a_customer_nobody_waits_for_opens_no_case_and_adds_no_entry(loop: Loop) -> None:
    loop.upload("day.csv", usage(LATE))
    before = entries_of(loop)
    loop.twin.add_customers(["cus_other"], tell=True)
    loop.stripe_works()
    told = [event for event in loop.twin.events() if event.type == "customer.created"]
    stored = loop.ledger.events.get(told[0].id)
    assert stored is not None
    assert (stored.state, stored.reason) == (EventState.IGNORED, "not_awaited")
    assert (len(loop.cases()), entries_of(loop)) == (1, before)


def test_a_customer_whose_event_never_arrives_is_found_by_asking_and_asking_in_vain_leaves_no_entry(
    loop: Loop,
) -> None:
    loop.upload("day.csv", usage(LATE))
    before = entries_of(loop)
    for _ in range(3):
        loop.clock.turn(days=1)
        loop.work()
    assert entries_of(loop) == before
    loop.twin.add_customers(["cus_late"])
    loop.clock.turn(days=1, seconds=1)
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_late"): "40"}


def test_usage_of_a_meter_that_is_reactivated_is_billed_once(loop: Loop) -> None:
    loop.context = replace(loop.context, rules=WAIT)
    change_meter(loop, "deactivate")
    loop.upload("day.csv", usage("use-1,{t},api_requests,cus_1,40"))
    assert loop.balance[Bucket.DEFERRED].records == 1
    before = entries_of(loop)
    loop.clock.turn(hours=2)
    loop.work()
    assert entries_of(loop) == before
    change_meter(loop, "reactivate")
    loop.stripe_works()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "40"}
    assert [case.state for case in loop.cases()] == [CaseState.SETTLED]


def test_what_waits_is_told_to_a_person_once_it_is_too_old(loop: Loop) -> None:
    loop.context = replace(loop.context, rules=WAIT)
    change_meter(loop, "deactivate")
    loop.upload("day.csv", usage("use-1,{t},api_requests,cus_1,40"))
    loop.clock.turn(days=35)
    loop.work()
    assert loop.balance[Bucket.QUARANTINED].records == 1
    assert [case.due_at for case in loop.cases()] == [None]
