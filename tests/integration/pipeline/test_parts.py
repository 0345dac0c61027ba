"""Large cases are planned in parts, by jobs of their own, and come out as if one worker had planned them."""

import random
from contextlib import ExitStack

import pytest

from tests.integration.pipeline.loop import Loop, usage
from workers.alerts import Notice
from workers.kernel.errors import Conflict
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.leases import MAX_DEATHS
from workers.kernel.reasons import KILLED_WORKERS
from workers.pipeline.audit.prove import prove
from workers.pipeline.plan.slices import decide_part
from workers.pipeline.run import carry_on_part
from workers.pipeline.upkeep.retry import retry_case

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
    monkeypatch.setattr("workers.pipeline.plan.slices.PART_RECORDS", size)
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
    monkeypatch.setattr("workers.pipeline.plan.slices.PART_RECORDS", 10)
    loop.upload("day.csv", faulty_file())
    loop.forget_jobs()
    loop.clock.turn(minutes=3)
    loop.work()
    loop.decide_parts(random.Random(1))
    assert_planned_as_one(loop)


def die_over(loop: Loop, part: tuple[str, int, int], stack: ExitStack) -> None:
    """Let a worker take a part up and die over it; `stack` keeps its corpse from giving the part back."""
    parts = loop.ledger.plan_parts
    case_id, version, number = part
    hold = parts.hold(parts.of(case_id, version)[number], "dies", loop.context.lease)
    hold.__enter__()
    stack.callback(lambda: hold)
    loop.clock.turn(seconds=loop.context.lease.total_seconds() + 1)


def test_a_part_that_kills_three_workers_is_put_before_a_person_and_the_others_go_on(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record in a million that crashes the engine would take every worker down, again and again."""
    monkeypatch.setattr("workers.pipeline.plan.slices.PART_RECORDS", 20)
    loop.upload("day.csv", faulty_file())
    deadly = next(part for part in loop.queue.parts if part[2] == 1)
    with ExitStack() as stack:
        for _ in range(MAX_DEATHS):
            die_over(loop, deadly, stack)
        loop.decide_parts(random.Random(2))
        loop.stripe_works()
        loop.pass_window()
    case = loop.cases()[0]
    of_others = {identifier for identifier in SOUND if not 20 <= int(identifier[4:]) < 40}
    assert {accepted.identifier for accepted in loop.twin.accepted()} == of_others
    assert case.state is CaseState.NEEDS_PERSON
    notice = loop.alerts.posted[-1]
    assert isinstance(notice, Notice)
    assert sum(reason.records for reason in notice.reasons if reason.reason == KILLED_WORKERS) == 20
    assert all(proof.breach is None for proof in prove(loop.ledger, loop.context.archive))


def test_what_killed_workers_can_be_planned_anew(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause is mended, such as too little memory: its revenue must not be lost."""
    monkeypatch.setattr("workers.pipeline.plan.slices.PART_RECORDS", 20)
    loop.upload("day.csv", faulty_file())
    with ExitStack() as stack:
        for _ in range(MAX_DEATHS):
            die_over(loop, loop.queue.parts[0], stack)
        loop.decide_parts(random.Random(3))
        loop.stripe_works()
    monkeypatch.undo()
    retry_case(loop.context, loop.cases()[0].id)
    loop.work()
    assert_planned_as_one(loop)


def test_a_part_over_which_workers_die_even_then_leaves_its_case_to_a_person(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who mends the cause has to get the usage going again."""
    monkeypatch.setattr("workers.pipeline.plan.slices.PART_RECORDS", 20)
    loop.upload("day.csv", faulty_file())
    deadly = loop.queue.parts[0]
    with ExitStack() as stack:
        for _ in range(MAX_DEATHS + 1):
            die_over(loop, deadly, stack)
        assert carry_on_part(loop.context, *deadly) is None
        case = loop.cases()[0]
        assert (case.trouble, case.due_at) == ("a worker died 4 times over part 0 of its plan", None)
        retry_case(loop.context, case.id)
        loop.work()
        loop.decide_parts(random.Random(4))
    assert_planned_as_one(loop)


def test_a_part_is_decided_by_one_worker_at_a_time(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second hint at a part in work costs nothing, and is no death."""
    monkeypatch.setattr("workers.pipeline.plan.slices.PART_RECORDS", 20)
    loop.upload("day.csv", faulty_file())
    case_id, version, number = loop.queue.parts[0]
    parts = loop.ledger.plan_parts
    part = parts.of(case_id, version)[number]
    with parts.hold(part, "one", loop.context.lease):
        with pytest.raises(Conflict):
            decide_part(loop.context, case_id, version, number)
        loop.clock.turn(seconds=loop.context.lease.total_seconds() / 2)
        parts.renew(part, "one", loop.context.lease)
        with pytest.raises(Conflict):
            parts.renew(part, "two", loop.context.lease)
    decide_part(loop.context, case_id, version, number)
    decided = parts.of(case_id, version)[number]
    assert (decided.decided is not None, decided.deaths) == (True, 0)
