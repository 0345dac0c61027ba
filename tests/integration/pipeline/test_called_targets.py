"""Corrected usage that goes by a call, from the refusal to the proof that it counts."""

from dataclasses import replace

from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.ledger.journal import Bucket
from workers.targets.meter_event_stream import MeterEventStreamTarget


def test_what_goes_by_the_stream_is_confirmed_by_stripes_totals(loop: Loop) -> None:
    """The stream answers nothing: without another proof, usage that never arrived would count as recovered."""
    loop.context = replace(loop.context, target=MeterEventStreamTarget(loop.context.stripe, loop.clock))
    loop.upload("day.csv", usage("use-1,{t},api_requests, cus_1,40", "use-2,{t},api_requests,cus_1,2"))
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "42"}
    assert _confirmed_by(loop) == ["summaries"]


def test_what_the_stream_refuses_later_is_taken_back_from_what_was_sent(loop: Loop) -> None:
    """A customer may be gone when the call is validated: the usage would be called recovered, and be lost."""
    loop.context = replace(loop.context, target=None)
    loop.upload("day.csv", usage("use-1,2026-11-20T10:00:00Z,api_requests,cus_1,40"))
    loop.lose_customer("cus_1")
    loop.context = replace(loop.context, target=MeterEventStreamTarget(loop.context.stripe, loop.clock))
    loop.clock.turn(hours=1)
    loop.work()
    assert loop.balance[Bucket.SUBMITTED].records == 1
    loop.stripe_works()
    assert loop.balance[Bucket.SUBMITTED].records == 0
    assert loop.balance.failed.records == 1
    assert [refused.identifier for refused in loop.twin.refused()] == ["use-1"]


def _confirmed_by(loop: Loop) -> list[str]:
    return [
        str(entry.detail["by"])
        for case in loop.cases()
        for entry in loop.ledger.queries.entries(case.id)
        if entry.to_bucket == Bucket.CONFIRMED
    ]
