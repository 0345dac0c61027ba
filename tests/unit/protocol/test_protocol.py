"""If these fail, a crash, a lost answer or a late refusal loses usage or bills it twice."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.protocol.broken import IntentAfterSend, NewIdentifierOnTimeout
from tests.unit.protocol.machine import FAST, Protocol
from tests.unit.protocol.world import World


def machine(migrated: Path, world: type[World]) -> type[Protocol]:
    class Machine(Protocol):
        world_type = world

    Machine.migrated = migrated
    return Machine


def test_whatever_happens_nothing_is_lost_and_nothing_is_billed_twice(migrated_sqlite: Path) -> None:
    run_state_machine_as_test(machine(migrated_sqlite, World), settings=FAST)


@pytest.mark.parametrize("world", [IntentAfterSend, NewIdentifierOnTimeout])
def test_a_broken_protocol_is_caught(migrated_sqlite: Path, world: type[World]) -> None:
    """Without it nobody would know whether the machine could fail at all."""
    with pytest.raises(AssertionError, match="billed more than once"):
        run_state_machine_as_test(machine(migrated_sqlite, world), settings=settings(FAST, max_examples=100))


@pytest.mark.parametrize("hours", [0, 25])
def test_a_crash_at_any_step_of_a_resubmission_is_mended(migrated_sqlite: Path, tmp_path: Path, hours: int) -> None:
    """Every side of every commit and every call, one after the other, until the service lives to the end.

    After 25 hours Stripe has forgotten the identifiers.
    """
    for steps in range(200):
        folder = tmp_path / str(steps)
        folder.mkdir()
        world = World(folder, migrated_sqlite)
        world.refuse_usage([" cus_1", "cus_gone", "cus_1 "], 0)
        world.deliver("evt_0")
        survived = world.work(steps)
        world.check()
        world.clock.turn(hours=hours)
        world.drain()
        world.check_at_rest()
        world.ledger.close()
        if survived:
            break
    assert steps > 20
    assert survived
