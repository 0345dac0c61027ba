"""Keeping the connector's pace is waiting, not failing."""

from dataclasses import replace

from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.ledger.journal import Bucket
from workers.targets.files import FileTarget


def test_many_cases_at_the_connectors_pace_are_all_sent_in_the_end(loop: Loop) -> None:
    """A case that gives up because others went first is usage nobody invoices."""
    paced = FileTarget(f"file://{loop.bucket}", pace_seconds=60, clock=loop.clock)
    loop.context = replace(loop.context, target=paced)
    for number in range(9):
        loop.upload(f"day-{number}.csv", usage(f"use-{number},{{t}},api_requests, cus_1,1"))
        loop.twin.clock.advance(11)
    for _ in range(400):
        if loop.balance.in_flight.records == 0:
            break
        loop.clock.turn(seconds=61)
        loop.stripe_works()
    assert loop.balance[Bucket.CONFIRMED].records == 9
    assert loop.billed() == {("api_requests", "cus_1"): "9"}
