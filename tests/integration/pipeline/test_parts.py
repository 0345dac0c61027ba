"""Large cases are planned in parts, by jobs of their own, and come out as if one worker had planned them."""

import random

import pytest

from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.ledger.movements import Bucket

RECORDS = 60
SOUND = {f"use-{number}": str(number) for number in range(RECORDS) if number % 3 and number % 7}
"""What can be repaired: the others name an unknown customer or have two readings."""


def faulty_file() -> str:
    """Rows that Stripe refuses for the form of their time; some have another fault, one stands there twice."""
    rows = []
    for number in range(RECORDS):
        customer = "cus_1" if number % 3 else "cus_unknown"
        value = str(number) if number % 7 else "1,234"
        rows.append(f'use-{number},2026-11-{1 + number % 20:02d}T10:00:00Z,api_requests,{customer},"{value}"')
    return usage(*rows, rows[5])


def assert_planned_as_one(loop: Loop) -> None:
    loop.stripe_works()
    loop.pass_window()
    assert {accepted.identifier: str(accepted.value) for accepted in loop.twin.accepted()} == SOUND
    assert loop.balance[Bucket.CONFIRMED].records == len(SOUND)
    assert loop.balance[Bucket.QUARANTINED].records == RECORDS + 1 - len(SOUND)


@pytest.mark.parametrize("size", [1, 7, 25])
def test_parts_of_any_size_in_any_order_give_the_plan_of_one_worker(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A plan that hangs on the number of workers is a plan that nobody can prove."""
    monkeypatch.setattr("workers.pipeline.parts.PART_RECORDS", size)
    loop.upload("day.csv", faulty_file())
    assert loop.decide_parts(random.Random(size)) > RECORDS / size
    assert_planned_as_one(loop)


def test_a_case_of_one_part_is_planned_at_once(loop: Loop) -> None:
    """Most cases are small and should not wait for a second job."""
    loop.upload("day.csv", faulty_file())
    assert loop.decide_parts(random.Random(0)) == 0
    assert_planned_as_one(loop)


def test_a_part_whose_job_was_lost_is_hinted_at_again(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis forgot the jobs: the case must not wait for ever."""
    monkeypatch.setattr("workers.pipeline.parts.PART_RECORDS", 10)
    loop.upload("day.csv", faulty_file())
    loop.forget_jobs()
    loop.clock.turn(minutes=3)
    loop.work()
    loop.decide_parts(random.Random(1))
    assert_planned_as_one(loop)
