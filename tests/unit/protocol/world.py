"""One company, its Stripe, its metermend and the person who runs it, in one process where anything may die.

The ledger, the archive, the pipeline and the targets are the real ones. `stripe` is a double that knows the truth.
"""

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from tests.books import a_context, counted_by_window
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue
from tests.unit.protocol.bucket import CLEAN, Bucket, MortalFileTarget, Verdict
from tests.unit.protocol.company import Company, Refusable
from tests.unit.protocol.mortality import Fuse, Killed, MortalDatabase
from tests.unit.protocol.published import as_delivered
from tests.unit.protocol.stripe_truth import API_CALLS, OLD_CALLS, StripeTruth, a_meter
from workers.kernel.errors import Conflict, InputUnusable, Transient
from workers.kernel.event_envelope import read_envelope
from workers.kernel.ledger.ledger import Ledger
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import scan
from workers.pipeline.run import carry_on, process
from workers.pipeline.undo.cancel import undo, undoable
from workers.pipeline.upkeep.reconcile import reconcile
from workers.pipeline.upkeep.retry import retry_case, retry_event
from workers.records.schema import IDENTIFIER
from workers.remedies import Rules
from workers.remedies.rules import parse_rules
from workers.sweeper import sweep
from workers.targets import Target
from workers.targets.meter_event_stream import MeterEventStreamTarget
from workers.targets.meter_events import MeterEventsTarget

API, FILES, STREAM = "api", "files", "stream"
LATER = 3650
"""Days from now on which the world begins: files that it writes must look older than its clock."""

NO_RULES = Rules()
WAIT = parse_rules('[[archived_meters]]\nmeter = "old_calls"\nwait = true')
ALIAS_AND_WAIT = parse_rules(
    '[customers.aliases]\ncus_gone = "cus_1"\n[[archived_meters]]\nmeter = "old_calls"\nwait = true'
)
OPERATOR = "ann"


class World:
    """Everything that a rule of the machine may do, and nothing of what has to hold then (`invariants`)."""

    def __init__(self, folder: Path, database_url: str, target: str = API) -> None:
        for name in ("bucket", "uploads"):
            (folder / name).mkdir()
        self.clock, self.fuse = FrozenClock(), Fuse()
        self.clock.turn(days=LATER)
        meters = [a_meter(API_CALLS, "api_calls", "active"), a_meter(OLD_CALLS, "old_calls", "inactive")]
        self.stripe = StripeTruth(clock=self.clock, fuse=self.fuse, meters=meters, customers=[{"id": "cus_1"}])
        self.bucket = Bucket(folder / "bucket", self.stripe)
        self.company = Company(folder / "uploads", self.stripe)
        self.queue = RecordingJobQueue()
        self.ledger = Ledger(MortalDatabase(database_url, self.fuse), self.clock)
        self.folder = MortalFileTarget(str(self.bucket.folder), self.stripe)
        stream = MeterEventStreamTarget(self.stripe, self.clock)
        self.targets = {API: self.api_target(), FILES: self.folder, STREAM: stream}
        self._first = target
        self._context = a_context(
            self.ledger,
            folder,
            self.clock,
            stripe=self.stripe,
            sources=self.company.sources,
            queue=self.queue,
            target=self.targets[target],
            rules=WAIT,
        )

    def api_target(self) -> Target:
        return MeterEventsTarget(self.stripe, self.clock)

    @property
    def context(self) -> Context:
        """A context of another owner for each piece of work, as `bootstrap` makes it."""
        return replace(self._context, owner=uuid4().hex)

    # What Stripe does.

    def deliver(self, event_id: str) -> None:
        """Let Stripe post an event, and the web store it and hint at it."""
        receipt = read_envelope(json.dumps(as_delivered(self.stripe.event(event_id))).encode(), livemode=None)
        if self.ledger.events.record(receipt):
            self.queue.enqueue_event(receipt.id, 0, large=receipt.large)

    def import_file(self, name: str, verdict: Verdict) -> None:
        """Let Stripe import a file of ours."""
        self.company.undelivered += self.bucket.import_file(name, verdict)

    def sent_with(self, identifier: str) -> set[str]:
        """Return the identifiers of the latest submission that holds this one, and of what went in its file."""
        found: set[str] = set()
        for case_id in self.ledger.queries.case_ids():
            for submission in self.ledger.submissions.of_case(case_id):
                names = self._names_in(submission)
                if identifier in names:
                    mates = self.ledger.shared_files.mates([submission.id])
                    found = names.union(*map(self._names_in, mates))
        return found

    def _names_in(self, submission: Submission) -> set[str]:
        return set(scan(self.context, submission.ref).select(IDENTIFIER).collect()[IDENTIFIER])

    # What the service does.

    def live(self, work: Callable[[], object], steps: int | None = None, calls: int | None = None) -> bool:
        """Do something in a process that lives for so many steps or calls; return whether it lived to the end."""
        with self.fuse.lit(steps, calls), suppress(Killed):
            work()
            return True
        return False

    def work(self, steps: int | None = None, *, calls: int | None = None) -> bool:
        """Do what is hinted at. Return whether the process lived to the end."""
        return self.live(self._do_all_jobs, steps, calls)

    def sweep(self) -> None:
        sweep(self.context)

    def reconcile(self, steps: int | None = None) -> None:
        self.live(lambda: list(reconcile(self.context)), steps)

    def lose_jobs(self) -> None:
        """Let Redis lose what it holds."""
        for jobs in (self.queue.events, self.queue.large_events, self.queue.cases):
            jobs.clear()

    def _do_all_jobs(self) -> None:
        while self._do_next_job():
            pass

    def _do_next_job(self) -> bool:
        queue = self.queue
        with suppress(Conflict):
            if queue.events or queue.large_events:
                process(self.context, (queue.events or queue.large_events).pop(0)[0])
            elif queue.cases:
                carry_on(self.context, queue.cases.pop(0)[0])
            else:
                return False
        return True

    def let_wait(self, cases: int) -> None:
        """Let so many cases have a record refused while the pace lets nothing begin."""
        self.folder.turns = 0
        for _ in range(cases):
            self.company.refuse_usage([Refusable.LED], 0)
            self.deliver(list(self.company.expected)[-1])
            self.work()
            self.clock.turn(minutes=20)  # a refusal that follows sooner is of the same case

    def let_one_begin(self, steps: int | None = None) -> bool:
        """Let one submission have its turn, and do what follows; return whether the process lived to the end."""
        self.folder.turns = 1
        self.clock.turn(minutes=6)
        self.sweep()
        return self.work(steps)

    # What the operator does.

    def follow(self, rules: Rules) -> None:
        """Let the operator change the rules."""
        self._context = replace(self._context, rules=rules)

    def submit_to(self, target: str | None) -> None:
        """Let the operator change where corrected usage is sent; None is nowhere."""
        self._context = replace(self._context, target=self.targets[target] if target else None)

    def retry(self, case_id: str, steps: int | None = None, *, approved: bool = False) -> None:
        """Let the operator call `metermend retry`, perhaps answering for what may be billed already."""
        self.stripe.taken_back -= self._records_of(case_id)
        by = OPERATOR if approved else None
        with suppress(Conflict, InputUnusable, Transient):
            self.live(lambda: retry_case(self.context, case_id, approved_by=by), steps)

    def retry_event(self, event_id: str) -> None:
        """Let the operator take an ended event up again."""
        with suppress(InputUnusable, Transient):
            retry_event(self.context, event_id)

    def undo(self, case_id: str, steps: int | None = None) -> None:
        """Let the operator call `metermend undo`."""
        with suppress(Conflict, InputUnusable, Transient):
            self.live(lambda: self._undo(case_id), steps)

    def _undo(self, case_id: str) -> None:
        for one in undoable(self.context, case_id):
            if one.fresh:
                undo(self.context, one.submission, approved_by=OPERATOR)

    # What happens in the end.

    def heal(self) -> None:
        """Let everything come to rest without faults, and the operator take up what had to be given up.

        A submission goes on with the target that has begun it, so each has its turn.
        """
        self.stripe.unanswered = 0
        self.folder.turns = None
        self.company.reveal()
        for event_id in self.company.expected:
            self.retry_event(event_id)
        for target in dict.fromkeys((API, FILES, self._first)):
            self.submit_to(target)
            self._settle()
            for case in self.ledger.queries.stuck_cases():
                self.retry(case.id)
        self._settle()

    def _records_of(self, case_id: str) -> set[str]:
        """Return the sender's identifiers of the records that belong to a case."""
        case = self.ledger.cases.get(case_id)
        windows = {window for window, _ in counted_by_window(self.ledger, case)} if case else set()
        expected = self.company.expected.values()
        return {origin for refused in expected for window in windows for origin in refused.get(window, ())}

    def _settle(self) -> None:
        for _ in range(60):
            self._hand_over()
            self.clock.turn(minutes=31)
            self.sweep()
            self.work()
            if not self.bucket.waiting() and not (self.in_flight() - self._stuck()):
                return

    def _stuck(self) -> int:
        """How many of the records on their way are in cases that were left to a person."""
        return sum(case.balance.in_flight.records for case in self.ledger.queries.stuck_cases())

    def _hand_over(self) -> None:
        for name in self.bucket.waiting():
            self.import_file(name, CLEAN)
        for event_id in self.company.undelivered:
            self.deliver(event_id)

    def in_flight(self) -> int:
        """How much is not at rest: records on their way, and events that have not ended."""
        counts = self.ledger.queries.event_counts()
        open_events = counts.get("received", 0) + counts.get("processing", 0)
        return self.ledger.queries.balance().in_flight.records + open_events

    def may_approve(self, case_id: str, uncertain: Collection[str]) -> bool:
        """Whether somebody who looks in Stripe's summaries can tell that none of these records counts."""
        billed = self.stripe.billed()
        return not self.bucket.waiting() and not any(billed[origin] for origin in uncertain)
