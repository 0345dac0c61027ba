"""A machine that lets a company and its Stripe do anything in any order, and metermend die at any step."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.protocol.world import World

CUSTOMERS = st.sampled_from([" cus_1", "cus_1 ", "cus_gone"])
"""Two that have one reading, and one that nobody knows."""
STEPS = st.none() | st.integers(0, 45)
"""How many steps the service lives; None lets it finish."""

FAST = settings(
    max_examples=15,
    stateful_step_count=14,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a run takes half a second: shrinking one that fails would take longer than the suite
    suppress_health_check=list(HealthCheck),
)


class Protocol(RuleBasedStateMachine):
    """What may happen to metermend. `world_type` is the one to be tried."""

    world_type: ClassVar[type[World]] = World
    migrated: ClassVar[Path]

    @initialize(customers=st.lists(CUSTOMERS, min_size=1, max_size=3))
    def begin(self, customers: list[str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-machine-"))
        self.world = self.world_type(self.folder, self.migrated)
        self.world.refuse_usage(customers, 0)
        self.world.deliver("evt_0")

    @rule(customers=st.lists(CUSTOMERS, min_size=1, max_size=3), unnamed=st.integers(0, 1))
    def stripe_refuses_the_senders_usage(self, customers: list[str], unnamed: int) -> None:
        self.world.refuse_usage(customers, unnamed)

    @precondition(lambda self: self.world.stripe.billed())
    @rule(which=st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True), unnamed=st.integers(0, 1))
    def stripe_refuses_ours_late(self, which: list[int], unnamed: int) -> None:
        self.world.refuse_ours(which, unnamed)

    @precondition(lambda self: self.world.undelivered)
    @rule(data=st.data())
    def stripe_delivers_some_event_again_or_for_the_first_time(self, data: Any) -> None:
        self.world.deliver(data.draw(st.sampled_from(self.world.undelivered)))

    @rule(calls=st.integers(1, 3))
    def stripe_loses_answers(self, calls: int) -> None:
        self.world.stripe.unanswered = calls

    @rule(steps=STEPS)
    def the_service_works(self, steps: int | None) -> None:
        self.world.work(steps)

    @rule(sides=st.integers(1, 4), minutes=st.sampled_from([6, 60 * 25]))
    def the_service_dies_while_it_sends_and_goes_on_later(self, sides: int, minutes: int) -> None:
        self.world.work(calls=sides)
        self.world.clock.turn(minutes=minutes)
        self.world.sweep()

    @rule(minutes=st.sampled_from([1, 6, 31, 60 * 25]), steps=STEPS)
    def time_passes_and_the_clock_sweeps(self, minutes: int, steps: int | None) -> None:
        self.world.clock.turn(minutes=minutes)
        self.world.sweep()
        self.world.work(steps)

    @rule()
    def the_queue_is_lost(self) -> None:
        self.world.queue.events.clear()
        self.world.queue.cases.clear()

    @rule()
    def the_clock_reconciles(self) -> None:
        self.world.reconcile()

    @invariant()
    def nothing_is_lost_and_nothing_is_billed_twice(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            self.world.drain()
            self.world.check_at_rest()
        finally:
            self.world.ledger.close()
            shutil.rmtree(self.folder)
