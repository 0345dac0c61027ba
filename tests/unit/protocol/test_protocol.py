"""If these fail, a crash, a lost answer or a late refusal loses usage or bills it twice."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.protocol.broken import (
    ForgetsDeferred,
    IgnoresVerdicts,
    IntentAfterSend,
    NewIdentifierOnTimeout,
    ResubmitsAfterUndo,
)
from tests.unit.protocol.company import Malformed, Refusable
from tests.unit.protocol.conftest import NewLedger
from tests.unit.protocol.invariants import Invariants
from tests.unit.protocol.machine import FAST, Protocol
from tests.unit.protocol.world import World

def machine(ledger: NewLedger, world: type[World] = World) -> type[Protocol]:
    class Machine(Protocol):
        world_type = world
        new_ledger = staticmethod(ledger)

    return Machine


def test_whatever_happens_nothing_is_lost_and_nothing_is_billed_twice(sqlite: NewLedger) -> None:
    run_state_machine_as_test(machine(sqlite), settings=FAST)


@pytest.mark.postgres
def test_the_same_holds_on_postgresql(postgres: NewLedger) -> None:
    run_state_machine_as_test(machine(postgres), settings=settings(FAST, max_examples=4))


@pytest.mark.parametrize(
    ("world", "breach"),
    [
        (IntentAfterSend, "billed more than once"),
        (NewIdentifierOnTimeout, "billed more than once"),
        (ForgetsDeferred, "stuck although its time has come"),
        (ResubmitsAfterUndo, "undone, but billed"),
        (IgnoresVerdicts, "confirmed, but not billed"),
    ],
)
def test_a_broken_protocol_is_caught(sqlite: NewLedger, world: type[World], breach: str) -> None:
    """Without it nobody would know whether the machine could fail at all."""
    with pytest.raises(AssertionError, match=breach):
        run_state_machine_as_test(machine(sqlite, world), settings=settings(FAST, max_examples=100))
