"""The machine with everything: files in and out, and what people do meanwhile."""

from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from tests.unit.protocol.bucket import Verdict
from tests.unit.protocol.company import Malformed
from tests.unit.protocol.machine import KNOWN, STEPS, Protocol
from tests.unit.protocol.stripe_truth import OLD_CALLS
from tests.unit.protocol.world import ALIAS_AND_WAIT, API, FILES, NO_RULES, WAIT
from workers.kernel.ledger.journal import Bucket
from workers.kernel.reasons import UNCERTAIN

ROWS = st.lists(st.sampled_from(Malformed), min_size=1, max_size=4)
VERDICTS = st.builds(
    Verdict,
    refused=st.sets(st.integers(0, 2), max_size=2),
    unlisted=st.integers(0, 1),
    whole=st.sampled_from([False, False, True]),
    returned=st.booleans(),
)


class Files(Protocol):
    """Files that the sender uploads and imports refuse, and files of ours with their verdicts."""

    first_target = FILES

    @rule(rows=ROWS, unlisted=st.integers(0, 1), repeated=st.booleans(), known=KNOWN)
    def an_import_refuses_rows(self, rows: list[Malformed], unlisted: int, repeated: bool, known: bool) -> None:
        self.world.company.refuse_rows(rows, unlisted, repeated=repeated, known=known)

    @rule(rows=st.integers(1, 4), returned=st.booleans(), known=KNOWN)
    def an_import_refuses_a_whole_file(self, rows: int, returned: bool, known: bool) -> None:
        self.world.company.refuse_file(rows, returned=returned, known=known)

    @precondition(lambda self: self.world.bucket.waiting())
    @rule(data=st.data(), verdict=VERDICTS)
    def stripe_imports_a_file_of_ours(self, data: Any, verdict: Verdict) -> None:
        self.world.import_file(data.draw(st.sampled_from(self.world.bucket.waiting())), verdict)

    @rule(verdict=VERDICTS)
    def the_service_works_and_stripe_imports_what_it_wrote(self, verdict: Verdict) -> None:
        self.world.work()
        for name in self.world.bucket.waiting():
            self.world.import_file(name, verdict)

    @rule(turns=st.none() | st.integers(0, 2))
    def the_connectors_pace_holds_some_up(self, turns: int | None) -> None:
        self.world.folder.turns = turns

    @rule(cases=st.integers(2, 3), steps=STEPS, verdict=VERDICTS)
    def what_waits_goes_in_one_file(self, cases: int, steps: int | None, verdict: Verdict) -> None:
        self.world.let_wait(cases)
        self.world.let_one_begin(steps)
        for name in self.world.bucket.waiting():
            self.world.import_file(name, verdict)

    @precondition(lambda self: self.world.bucket.imported)
    @rule()
    def somebody_removes_the_imported_files(self) -> None:
        self.world.bucket.clean()


class Operated(Protocol):
    """What the operator, the sender and others do while it all goes on."""

    @rule(data=st.data(), anew=st.booleans())
    def stripe_tells_a_refusal_in_another_event(self, data: Any, anew: bool) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.world.company.expected)))
        company = self.world.company
        (company.refuse_again if anew else company.publish_again)(event_id)

    @rule(active=st.booleans())
    def somebody_archives_a_meter_or_makes_it_active(self, active: bool) -> None:
        self.world.stripe.set_meter(OLD_CALLS, "active" if active else "inactive")

    @rule()
    def the_sender_names_his_other_places(self) -> None:
        self.world.company.reveal()

    @rule(rules=st.sampled_from([NO_RULES, WAIT, ALIAS_AND_WAIT]))
    def the_operator_changes_the_rules(self, rules: Any) -> None:
        self.world.follow(rules)

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


class Everything(Files, Operated):
    """All of it, also the change from one target to the other."""

    @rule(submit_to=st.sampled_from([API, FILES]))
    def the_operator_submits_elsewhere(self, submit_to: str) -> None:
        self.world.submit_to(submit_to)
