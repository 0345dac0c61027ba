"""If these fail, a crash, a lost answer or a late refusal loses usage or bills it twice."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.protocol.broken import (
    ForgetsDeferred,
    ForgetsMates,
    IgnoresVerdicts,
    IntentAfterSend,
    ResubmitsAfterUndo,
)
from tests.unit.protocol.bucket import Verdict
from tests.unit.protocol.company import Refusable
from tests.unit.protocol.conftest import NewLedger
from tests.unit.protocol.everything import Everything
from tests.unit.protocol.invariants import Invariants
from tests.unit.protocol.machine import FAST, Protocol
from tests.unit.protocol.world import API, FILES, STREAM, World


def machine(ledger: NewLedger, kind: type[Protocol], world: type[World] = World) -> type[Protocol]:
    """Return a machine on such ledgers, in such a world."""

    class Machine(kind):  # type: ignore[misc, valid-type]
        world_type = world
        new_ledger = staticmethod(ledger)

    return Machine


def test_whatever_happens_nothing_is_lost_and_nothing_is_billed_twice(sqlite: NewLedger) -> None:
    run_state_machine_as_test(machine(sqlite, Everything), settings=settings(FAST, max_examples=3))


@pytest.mark.postgres
def test_the_same_holds_on_postgresql(postgres: NewLedger) -> None:
    run_state_machine_as_test(machine(postgres, Everything), settings=settings(FAST, max_examples=2))


def test_a_broken_protocol_is_caught(sqlite: NewLedger) -> None:
    """Without it nobody would know whether the machine could fail at all."""
    with pytest.raises(AssertionError, match="billed more than once"):
        run_state_machine_as_test(
            machine(sqlite, Protocol, IntentAfterSend), settings=settings(FAST, max_examples=100)
        )


@pytest.mark.parametrize(
    ("world", "usage", "breach"),
    [
        (ResubmitsAfterUndo, [Refusable.LED, Refusable.TRAILED], "undone, but billed"),
        (IgnoresVerdicts, [Refusable.LED, Refusable.TRAILED], "confirmed, but not billed"),
        (ForgetsDeferred, [Refusable.EARLY], "stuck although its time has come"),
    ],
)
def test_a_broken_protocol_is_caught_on_the_way_that_shows_it(
    sqlite: NewLedger, tmp_path: Path, world: type[World], usage: list[Refusable], breach: str
) -> None:
    """The machine comes by there, but not within the seconds that a test may take."""
    broken = world(tmp_path, sqlite(tmp_path), FILES if world is IgnoresVerdicts else API)
    broken.company.refuse_usage(usage, 0)
    broken.deliver("evt_0")
    broken.work()
    for name in broken.bucket.waiting():
        broken.import_file(name, Verdict(refused={0}))
    if world is ResubmitsAfterUndo:
        broken.undo(broken.ledger.queries.case_ids()[0])
    broken.clock.turn(hours=3)
    broken.heal()
    with pytest.raises(AssertionError, match=breach):
        Invariants(broken).check_at_rest()
    broken.ledger.close()


@pytest.mark.parametrize(("target", "first"), [(API, 0), (FILES, 2), (STREAM, 1)])
def test_a_crash_at_any_step_of_a_resubmission_is_mended(
    sqlite: NewLedger, tmp_path: Path, target: str, first: int
) -> None:
    """A crash at some commits and calls of each target, until the service lives to the end; `bench.faults` has all.

    It goes on after 25 hours, when Stripe has forgotten the identifiers.
    """
    for steps in range(first, 200, 5):
        folder = tmp_path / str(steps)
        folder.mkdir()
        world = World(folder, sqlite(folder), target)
        world.company.refuse_usage([Refusable.LED], 0)
        world.deliver("evt_0")
        survived = world.work(steps)
        world.clock.turn(hours=25)
        world.heal()
        Invariants(world).check_at_rest()
        world.ledger.close()
        if survived:
            break
    assert steps > 20
    assert survived


def test_a_crash_at_any_step_of_a_file_that_many_share_is_mended(sqlite: NewLedger, tmp_path: Path) -> None:
    """Also between the cases that take in what Stripe says of it. It refuses a row of one, or the whole file."""
    for steps in range(1, 200, 11):
        folder = tmp_path / str(steps)
        folder.mkdir()
        world = World(folder, sqlite(folder), FILES)
        world.let_wait(3)
        survived = world.let_one_begin(steps)
        for name in world.bucket.waiting():
            world.import_file(name, Verdict(refused={1}, whole=steps % 2 == 1))
        for event_id in world.company.undelivered:
            world.deliver(event_id)
        world.clock.turn(minutes=6)
        world.sweep()
        survived = world.work(steps) and survived
        world.clock.turn(hours=25)
        world.heal()
        Invariants(world).check_at_rest()
        world.ledger.close()
        if survived:
            break
    assert steps > 20
    assert survived


def test_a_verdict_that_reaches_one_case_of_a_shared_file_alone_is_caught(
    sqlite: NewLedger, tmp_path: Path
) -> None:
    world = ForgetsMates(tmp_path, sqlite(tmp_path), FILES)
    world.let_wait(3)
    world.let_one_begin()
    [name] = world.bucket.waiting()
    world.import_file(name, Verdict(refused={0, 1, 2}))
    world.heal()
    with pytest.raises(AssertionError, match="confirmed, but not billed"):
        Invariants(world).check_at_rest()
    world.ledger.close()
