"""A machine that lets a company and its Stripe do anything in any order, and metermend die at any step.

`Protocol` knows refusals by meters and the meter events API; `everything` adds files and what people do.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.protocol.company import Refusable
from tests.unit.protocol.invariants import Invariants
from tests.unit.protocol.world import API, World

USAGE = st.lists(st.sampled_from(Refusable), min_size=1, max_size=4)
KNOWN = st.sampled_from([True, True, True, False])
"""Whether our sources hold what was refused: mostly."""
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
    """What may happen to metermend. `world_type` is the one to be tried, `new_ledger` makes an empty ledger."""

    world_type: ClassVar[type[World]] = World
    new_ledger: ClassVar[Callable[[Path], str]]
    first_target: ClassVar[str] = API

    @initialize(kinds=USAGE)
    def begin(self, kinds: list[Refusable]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-machine-"))
        self.world = self.world_type(self.folder, type(self).new_ledger(self.folder), self.first_target)
        self.promises = Invariants(self.world)
        self.world.company.refuse_usage(kinds, 0)
        self.world.deliver("evt_0")

    # What Stripe refuses.

    @rule(kinds=USAGE, unnamed=st.integers(0, 1), known=KNOWN)
    def meters_refuse_the_senders_usage(self, kinds: list[Refusable], unnamed: int, known: bool) -> None:
        self.world.company.refuse_usage(kinds, unnamed, known=known)

    @precondition(lambda self: self.world.stripe.billed())
    @rule(which=st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True), unnamed=st.integers(0, 1))
    def stripe_refuses_ours_late(self, which: list[int], unnamed: int) -> None:
        self.world.company.refuse_ours(which, unnamed, self.world.sent_with)

    @precondition(lambda self: self.world.company.undelivered)
    @rule(data=st.data())
    def stripe_delivers_some_event_again_or_for_the_first_time(self, data: Any) -> None:
        self.world.deliver(data.draw(st.sampled_from(self.world.company.undelivered)))

    @rule(calls=st.integers(1, 3))
    def stripe_loses_answers(self, calls: int) -> None:
        self.world.stripe.unanswered = calls

    # What the service goes through.

    @rule(steps=STEPS)
    def the_service_works(self, steps: int | None) -> None:
        self.world.work(steps)

    @rule(sides=st.integers(1, 4), minutes=st.sampled_from([6, 60 * 25]))
    def the_service_dies_while_it_sends_and_goes_on_later(self, sides: int, minutes: int) -> None:
        self.world.work(calls=sides)
        self.world.clock.turn(minutes=minutes)
        self.world.sweep()

    @rule(minutes=st.sampled_from([1, 6, 31, 60 * 3, 60 * 25]), steps=STEPS)
    def time_passes_and_the_clock_sweeps(self, minutes: int, steps: int | None) -> None:
        self.world.clock.turn(minutes=minutes)
        self.world.sweep()
        self.world.work(steps)

    @rule()
    def the_queue_is_lost(self) -> None:
        self.world.lose_jobs()

    @rule(steps=STEPS)
    def the_clock_reconciles(self, steps: int | None) -> None:
        self.world.reconcile(steps)

    @invariant()
    def nothing_is_lost_and_nothing_is_billed_twice(self) -> None:
        self.promises.check()

    def teardown(self) -> None:
        try:
            self.world.heal()
            self.promises.check_at_rest()
        finally:
            self.world.ledger.close()
            shutil.rmtree(self.folder)
