"""If these fail, what was taken back by mistake is never billed again, or `retry` says what it does not do."""

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved, reasons
from tests.recording import RecordingJobQueue
from workers.kernel.errors import InputUnusable
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.context import Context
from workers.pipeline.undo.cancel import submissions_of, undo
from workers.pipeline.upkeep.retry import retry_case, retry_event
from workers.remedies.rules import parse_rules
from workers.targets.meter_events import MeterEventsTarget


def anew(loop: Loop) -> Context:
    return replace(loop.context, owner=uuid4().hex)


@pytest.mark.parametrize(
    "row",
    [
        "i1,{t},api_requests,cus_1,+5",
        "i1,{t},api_requests,cus_1, 5 ",
        "i1,{t},api_requests,cus_1,5e0",
        "i1,{t},api_requests,cus_1 ,5",
        "i1,{t}000,api_requests, cus_1 ,+5",
        "i" * 100 + ",{t},api_requests,cus_1,+5",
    ],
)
def test_what_was_taken_back_is_judged_as_the_sender_gave_it(loop: Loop, row: str) -> None:
    """It was judged as it had been sent, so nothing was found wrong with it and it was never billed."""
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    loop.upload("a.csv", usage(row))
    (case,) = loop.cases()
    first = [usage.identifier for usage in loop.twin.accepted()]
    (submission,) = submissions_of(loop.context, case.id)
    undo(anew(loop), submission, approved_by="ada")
    assert reasons(loop) == ["undone"]
    retry_case(anew(loop), case.id)
    loop.work()
    assert reasons(loop) == []
    assert loop.billed() == {("api_requests", "cus_1"): "5"}
    assert first != [usage.identifier for usage in loop.twin.accepted()]
    assert_proved(loop)


@pytest.mark.parametrize(
    "event_type",
    [
        "invoice.paid",
        "ping",
        "billing.meter.created",
        "v1.billing.meter.created",
        "v2.core.event_destination.ping",
        "data_management.import_set.created",
        "data_management.import_set.succeeded.v2",
        "v1.billing.meter.error_report_triggered ",
        "V1.BILLING.METER.NO_METER_FOUND",
        "customer.deleted",
    ],
)
def test_an_event_that_is_none_of_ours_is_one_clear_line(loop: Loop, event_type: str) -> None:
    """It was taken up and failed six times with the name of its type."""
    body = f'{{"id": "evt_other", "object": "event", "type": "{event_type}"}}'
    loop.ledger.events.record(read_envelope(body.encode(), livemode=False))
    with pytest.raises(InputUnusable, match="says nothing of refused usage - nothing is to be done"):
        retry_event(loop.context, "evt_other")
    event = loop.ledger.events.get("evt_other")
    assert event is not None
    assert (event.state, event.attempts) == (EventState.IGNORED, 0)


def test_an_event_that_waits_is_taken_up_now(loop: Loop) -> None:
    body = b'{"id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"}'
    loop.ledger.events.record(read_envelope(body, livemode=False))
    loop.ledger.events.claim("evt_1", "worker", loop.context.lease)
    loop.ledger.events.postpone("evt_1", "worker", loop.clock() + loop.context.lease, "Stripe is away")
    assert loop.ledger.events.due(10) == []
    assert retry_event(loop.context, "evt_1")
    assert loop.ledger.events.due(10) == [("evt_1", 0)]


@pytest.mark.parametrize("approved_by", [None, "ada"])
def test_a_retry_without_redis_is_done_and_says_who_takes_it_up(loop: Loop, approved_by: str | None) -> None:
    """It ended with an error after it had reopened the case, as if nothing had been done."""
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,five"))
    (case,) = loop.cases()
    retried = retry_case(replace(anew(loop), queue=RecordingJobQueue(away=True)), case.id, approved_by=approved_by)
    assert (retried.reopened, retried.hinted) == (1, False)
    assert [case.id for case in loop.ledger.cases.due(10)] == [case.id]
    (event_id,) = {e.event_id for e in loop.ledger.queries.entries(case.id) if e.event_id}
    assert not retry_event(replace(anew(loop), queue=RecordingJobQueue(away=True)), event_id)
    assert [due for due, _ in loop.ledger.events.due(10)] == [event_id]


def test_a_plan_says_which_rules_it_was_made_under(loop: Loop) -> None:
    loop.upload("a.csv", usage("i1,{t},api_requests,gone,5"))
    (case,) = loop.cases()
    rules = parse_rules('[customers.aliases]\ngone = "cus_1"')
    loop.context = replace(loop.context, rules=rules)
    retry_case(anew(loop), case.id)
    loop.work()
    plans = [
        e for e in loop.ledger.queries.entries(case.id) if e.kind in (EntryKind.QUARANTINED, EntryKind.PLANNED)
    ]
    assert [plan.detail["rules"] for plan in plans] == [[], [rules.digest]]
    assert loop.balance[Bucket.SUBMITTED].records == 1


@pytest.mark.parametrize("days", [1, 2, 20, 400])
def test_a_window_that_a_clock_ahead_has_set_begins_anew(loop: Loop, days: float) -> None:
    """It would have been in flight until that day, or confirmed before its refusal could come."""
    loop.deny_totals()
    loop.clock.turn(days=days)
    loop.twin.clock.advance(days * 86_400)
    able = loop.context
    at = int(loop.twin.clock.now()) - 3600
    loop.upload("a.csv", usage(f"i1,{at},api_requests,cus_1,+5"))
    assert loop.balance[Bucket.SUBMITTED].records == 1
    loop.clock.turn(days=-days)
    loop.context = replace(able, owner=uuid4().hex)
    loop.work()
    assert loop.balance[Bucket.SUBMITTED].records == 1
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 1
    assert_proved(loop)
