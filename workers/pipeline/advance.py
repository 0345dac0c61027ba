"""Carrying a case on from wherever its journal says it stands.

1. An undo or a counter-entry that was approved and broke off goes on.
2. Deferred records whose time has come are pending again, and so is what waited for a customer or meter that has
   come. Records that Stripe only counts are looked for.
3. Pending records are planned; those of a large case not in a job of small work.
4. Planned records are checked once more and submitted, where there is a target; a submission that a crash left open
   goes on first. Usage of pre-aggregated meters goes by itself.
5. Submitted records are confirmed once their window has passed without a refusal.
6. A person is told where the meaning of the case has changed, and the case is due again when there is more to do.

Each step ends in one commit, so calling `advance` again after a crash does the rest and nothing twice.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from workers.kernel.errors import Permanent
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.leases import MAX_DEATHS
from workers.kernel.ledger.submissions import SubmissionState
from workers.kernel.places import DASHBOARD
from workers.pipeline.case_facts import facts_of
from workers.pipeline.context import Context, working_on
from workers.pipeline.livemode import require_own_mode
from workers.pipeline.locate.locate import locate, next_look
from workers.pipeline.notify import tell
from workers.pipeline.plan.defer import next_deferred, reopen_due, some_deferred_is_due
from workers.pipeline.plan.plan import is_large, plan
from workers.pipeline.submit.confirm import begin_window_anew, confirm, due_for_confirmation
from workers.pipeline.submit.preflight import intend_what_may_go
from workers.pipeline.submit.send import open_submission, submit
from workers.pipeline.undo.approvals import left_open
from workers.pipeline.undo.cancel import finish_undo
from workers.pipeline.undo.reverse import finish_counter_entry
from workers.pipeline.upkeep.wake import look, next_wake
from workers.targets import Target

Step = Callable[[Context, HeldCase], None]

_NO_TARGET_YET: Final = timedelta(hours=1)
"""How often a case that has something to send looks whether there is a target by now."""
MAX_STEPS: Final = 64
"""No case takes more steps at a stretch; what is left is taken up at its next turn."""


def advance(context: Context, case_id: str, *, large: bool = True) -> Case:
    """Do all that can be done for a case now, and return it as it stands then.

    Without `large` a large plan is left to a job in the queue of large work.

    Raises Conflict when another worker holds it; Transient and Permanent when a step fails, after what was finished
    has been committed.
    """
    with working_on(context, case_id) as held:
        require_few_deaths(held.case.deaths)
        require_own_mode(context, case_id, livemode=held.case.failure.livemode)
        if is_large(held.case.balance[Bucket.PENDING].records) and not large:
            context.queue.enqueue_case(case_id, held.case.version, large=True)
            return held.case
        begin_window_anew(context, held)
        for _ in range(MAX_STEPS):
            step = _next_step(context, held)
            if step is None:
                break
            step(context, held)
        told, at = tell(context, held), _due_at(context, held)
        facts = facts_of(context, held) if told is not None else None
        with held.transaction(last=True) as transaction:
            transaction.reschedule(at)
            if told is not None:
                transaction.alerted(told)
            if facts is not None:
                transaction.know(*facts)
        return held.case


def require_few_deaths(deaths: int) -> None:
    """Raise Permanent where so many workers died over an event or a case that no other should try it."""
    if deaths >= MAX_DEATHS:
        raise Permanent(f"a worker died over it {deaths} times")


def _next_step(context: Context, held: HeldCase) -> Step | None:
    balance = held.case.balance
    if left_open(held.journal):
        return _take_back
    if balance[Bucket.DEFERRED].records and some_deferred_is_due(context, held):
        return reopen_due
    if _is_past(context, next_wake(context, held)):
        return look
    if _is_past(context, next_look(context, held)):
        return locate
    if balance[Bucket.PENDING].records:
        return plan
    return _to_send_or_confirm(context, held)


def _to_send_or_confirm(context: Context, held: HeldCase) -> Step | None:
    balance = held.case.balance
    target = context.target_of(held.case.failure.account)
    if target is not None and (
        open_submission(held) or (_goes_by_itself(target) and balance[Bucket.PLANNED].records)
    ):
        return _submit
    if balance[Bucket.SUBMITTED].records and due_for_confirmation(context, held):
        return confirm
    return None


def _goes_by_itself(target: Target) -> bool:
    """Whether planned records are sent as soon as they are planned; a part is made when a person asks for it."""
    return target.name != DASHBOARD


def _take_back(context: Context, held: HeldCase) -> None:
    for submission in held.submissions:
        finish_undo(context, held, submission)
        finish_counter_entry(context, held, submission)


def _submit(context: Context, held: HeldCase) -> None:
    submission = open_submission(held) or intend_what_may_go(context, held)
    if submission is not None:
        submit(context, held, submission)


def _due_at(context: Context, held: HeldCase) -> datetime | None:
    """Return when there is more to do: a window passes, a deferred record becomes valid, or steps are left.

    What is to be sent is looked at again as well: SUBMIT_TO may be set by then.
    """
    balance, now = held.case.balance, context.clock()
    windows = [s.confirm_at for s in held.submissions if s.state is SubmissionState.SENT and s.confirm_at]
    deferred = next_deferred(context, held) if balance[Bucket.DEFERRED].records else None
    unplanned = now if balance[Bucket.PENDING].records else None
    unsent = now + _NO_TARGET_YET if balance[Bucket.PLANNED].records or open_submission(held) else None
    looks = next_look(context, held), next_wake(context, held)
    return min([*windows, *filter(None, (deferred, unplanned, unsent, *looks))], default=None)


def _is_past(context: Context, moment: datetime | None) -> bool:
    return moment is not None and moment <= context.clock()
