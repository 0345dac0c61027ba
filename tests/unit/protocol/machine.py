"""A machine that lets a company, its Stripe and its operator do anything in any order, and metermend die at any step."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.protocol.bucket import Verdict
from tests.unit.protocol.company import Malformed, Refusable
from tests.unit.protocol.invariants import Invariants
from tests.unit.protocol.stripe_truth import OLD_CALLS
from tests.unit.protocol.world import ALIAS_AND_WAIT, API, FILES, NO_RULES, WAIT, World
from workers.kernel.ledger.movements import Bucket
from workers.pipeline.reopening import UNCERTAIN

USAGE = st.lists(st.sampled_from(Refusable), min_size=1, max_size=4)
ROWS = st.lists(st.sampled_from(Malformed), min_size=1, max_size=4)
STEPS = st.none() | st.integers(0, 45)
"""How many steps the service lives; None lets it finish."""
KNOWN = st.sampled_from([True, True, True, False])
"""Whether our sources hold what was refused: mostly."""
VERDICTS = st.builds(
    Verdict,
    refused=st.sets(st.integers(0, 2), max_size=2),
    unlisted=st.integers(0, 1),
    whole=st.sampled_from([False, False, True]),
    returned=st.booleans(),
)

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

    @initialize(submit_to=st.sampled_from([API, FILES]), kinds=USAGE)
    def begin(self, submit_to: str, kinds: list[Refusable]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-machine-"))
        self.world = self.world_type(self.folder, type(self).new_ledger(self.folder), submit_to)
        self.promises = Invariants(self.world)
        self.world.company.refuse_usage(kinds, 0)
        self.world.deliver("evt_0")

    # What Stripe refuses.

    @rule(kinds=USAGE, unnamed=st.integers(0, 1), known=KNOWN)
    def meters_refuse_the_senders_usage(self, kinds: list[Refusable], unnamed: int, known: bool) -> None:
        self.world.company.refuse_usage(kinds, unnamed, known=known)

    @rule(rows=ROWS, unlisted=st.integers(0, 1), repeated=st.booleans(), known=KNOWN)
    def an_import_refuses_rows(self, rows: list[Malformed], unlisted: int, repeated: bool, known: bool) -> None:
        self.world.company.refuse_rows(rows, unlisted, repeated=repeated, known=known)

    @rule(rows=st.integers(1, 4), returned=st.booleans(), known=KNOWN)
    def an_import_refuses_a_whole_file(self, rows: int, returned: bool, known: bool) -> None:
        self.world.company.refuse_file(rows, returned=returned, known=known)

    @rule(data=st.data(), anew=st.booleans())
    def stripe_tells_a_refusal_in_another_event(self, data: Any, anew: bool) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.world.company.expected)))
        company = self.world.company
        (company.refuse_again if anew else company.publish_again)(event_id)

    @precondition(lambda self: self.world.stripe.billed())
    @rule(which=st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True), unnamed=st.integers(0, 1))
    def stripe_refuses_ours_late(self, which: list[int], unnamed: int) -> None:
        self.world.company.refuse_ours(which, unnamed)

    @precondition(lambda self: self.world.bucket.waiting())
    @rule(data=st.data(), verdict=VERDICTS)
    def stripe_imports_a_file_of_ours(self, data: Any, verdict: Verdict) -> None:
        self.world.import_file(data.draw(st.sampled_from(self.world.bucket.waiting())), verdict)

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

    # What people do.

    @rule(active=st.booleans())
    def somebody_archives_a_meter_or_makes_it_active(self, active: bool) -> None:
        self.world.stripe.set_meter(OLD_CALLS, "active" if active else "inactive")

    @precondition(lambda self: self.world.bucket.imported)
    @rule()
    def somebody_removes_the_imported_files(self) -> None:
        self.world.bucket.clean()

    @rule()
    def the_sender_names_his_other_places(self) -> None:
        self.world.company.reveal()

    @rule(rules=st.sampled_from([NO_RULES, WAIT, ALIAS_AND_WAIT]))
    def the_operator_changes_the_rules(self, rules: Any) -> None:
        self.world.follow(rules)

    @rule(submit_to=st.sampled_from([API, FILES]))
    def the_operator_submits_elsewhere(self, submit_to: str) -> None:
        self.world.submit_to(submit_to)

    @precondition(lambda self: self.world.ledger.queries.case_ids())
    @rule(data=st.data(), steps=STEPS)
    def the_operator_retries_a_case(self, data: Any, steps: int | None) -> None:
        self.world.retry(self._a_case(data), steps)

    @precondition(lambda self: self.world.ledger.queries.case_ids())
    @rule(data=st.data(), steps=STEPS)
    def the_operator_undoes_a_case(self, data: Any, steps: int | None) -> None:
        self.world.undo(self._a_case(data), steps)

    @precondition(lambda self: self._approvable())
    @rule(data=st.data(), steps=STEPS)
    def the_operator_approves_what_does_not_count_at_stripe(self, data: Any, steps: int | None) -> None:
        self.world.retry(data.draw(st.sampled_from(self._approvable())), steps, approved=True)

    def _a_case(self, data: Any) -> str:
        return str(data.draw(st.sampled_from(sorted(self.world.ledger.queries.case_ids()))))

    def _approvable(self) -> list[str]:
        """Return cases with perhaps billed records of which somebody can see that none is billed."""
        uncertain: dict[str, list[str]] = {}
        for stand in self.promises.stands():
            if stand.bucket is Bucket.QUARANTINED and stand.reason in UNCERTAIN:
                uncertain.setdefault(stand.case_id, []).append(stand.origin)
        return sorted(case_id for case_id, origins in uncertain.items() if self.world.may_approve(case_id, origins))

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
