"""Large cases are planned a slice at a time, and come out as if they had been planned at once."""

import polars as pl
import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.unit.protocol.mortality import Killed
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.leases import MAX_DEATHS, Leases
from workers.pipeline.audit.prove import prove
from workers.pipeline.plan import decide
from workers.pipeline.run import carry_on, process
from workers.pipeline.upkeep.retry import retry_case
from workers.sweeper import sweep

RECORDS = 60
SOUND = {f"use-{number}": str(number) for number in range(RECORDS) if number % 3 and number % 7}
"""What can be repaired: the others name an unknown customer or have two readings."""
SLICE = "workers.pipeline.plan.plan.PART_RECORDS"
DECIDE = "workers.pipeline.plan.plan.decide"


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
    assert all(proof.breach is None for proof in prove(loop.ledger, loop.context.archive))


@pytest.mark.parametrize("size", [1, 7, RECORDS + 1])
def test_slices_of_any_size_give_the_same_plan(loop: Loop, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A plan that hangs on how it was cut is a plan that nobody can prove; no slice may be larger than is asked."""
    sizes: list[int] = []

    def noted(*arguments: object) -> pl.DataFrame:
        frame = arguments[3]
        assert isinstance(frame, pl.DataFrame)
        sizes.append(frame.height)
        return decide.decide(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SLICE, size)
    monkeypatch.setattr(DECIDE, noted)
    loop.upload("day.csv", faulty_file())
    assert (max(sizes), sum(sizes)) == (size, RECORDS + 1)
    assert_planned_as_one(loop)


def taken_in(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Let a job of small work take the event in, and no other job follow."""
    with monkeypatch.context() as small:
        small.setattr(loop, "work", lambda: None)
        loop.upload("day.csv", faulty_file())
    [(event_id, _)] = loop.ledger.events.due(10)
    process(loop.context, event_id)
    return loop.cases()[0]


def test_a_large_case_is_left_to_the_queue_of_large_work(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan of hours in the queue of small work holds up everybody's small events."""
    monkeypatch.setattr(SLICE, 10)
    case = taken_in(loop, monkeypatch)
    assert loop.queue.cases == [(case.id, case.version, True)]
    carry_on(loop.context, case.id)
    assert_planned_as_one(loop)


def test_the_sweeper_hints_at_a_large_case_as_large_work_alone(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of small work for it, at each sweep, would keep the workers from the queue in which it stands."""
    monkeypatch.setattr(SLICE, 10)
    case = taken_in(loop, monkeypatch)
    hint = (case.id, case.version, True)
    loop.clock.turn(minutes=3)
    sweep(loop.context)
    assert set(loop.queue.cases) == {hint}
    loop.queue.cases.clear()
    sweep(loop.context)
    assert loop.queue.cases == [hint]


def test_a_plan_whose_workers_die_ends_with_a_person_and_goes_on_when_the_cause_is_mended(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record in a million that crashes the engine would take every worker down, again and again."""
    monkeypatch.setattr(SLICE, 20)
    calls: list[int] = []

    def deadly(*arguments: object) -> pl.DataFrame:
        calls.append(1)
        if len(calls) % 2 == 0:
            raise Killed
        return decide.decide(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DECIDE, deadly)
    taken_in(loop, monkeypatch)
    with monkeypatch.context() as dying:
        dying.setattr(Leases, "give_back", lambda *_: None)  # the dead give nothing back
        for _ in range(MAX_DEATHS):
            with pytest.raises(Killed):
                loop.work()
            loop.clock.turn(minutes=3, seconds=loop.context.lease.total_seconds())
    loop.work()
    case = loop.cases()[0]
    assert (case.trouble, case.due_at) == (f"a worker died over it {MAX_DEATHS} times", None)
    assert len(calls) == 2 * MAX_DEATHS
    monkeypatch.undo()
    retry_case(loop.context, case.id)
    loop.work()
    assert_planned_as_one(loop)
