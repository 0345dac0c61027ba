"""One event or one case from its lease to its end, and what follows where work on it fails.

`process` takes an event in and carries its cases on, `carry_on` advances a case. What goes wrong ends where it can
be seen: `RETRY_POLICIES` says what follows each kind of error. Three workers that died over an event or a case end
it, too, so that it cannot take the others down with it.
"""

import math
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from workers.alerts import NextStep
from workers.kernel.clock import from_text, is_within, to_text
from workers.kernel.errors import (
    AwaitsPerson,
    Conflict,
    InputUnusable,
    LedgerUnavailable,
    Paced,
    Permanent,
    Transient,
)
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.events import EventState, StoredEvent
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings
from workers.pipeline.advance import advance, require_few_deaths
from workers.pipeline.context import Context, heartbeat
from workers.pipeline.intake import take_in
from workers.pipeline.notify import trouble
from workers.pipeline.submit.send import open_submission

log = get_logger(__name__)

MAX_SURPRISES: Final = 6
"""Tries of what fails for a reason that nobody expected: the fault may be ours."""
_FIRST_WAIT: Final = 2.0
_LONGEST_WAIT: Final = 900.0
LONG_WAIT: Final = timedelta(hours=1)
"""After so long in the queue of a target a case says so, and a person is told, at most once in as long."""
_MOST_TURNS: Final = 30
"""No case waits for more turns before it looks again: one file takes all the small ones that wait."""
_TOLD_OF_QUEUE: Final = "queue_told"


@dataclass(frozen=True)
class RetryPolicy:
    """How often work is tried in all that fails with an error: so often, or as often as the settings say.

    Tries are `seconds` apart; without, as far as the far side asks for, else doubling up to 15 minutes.
    """

    tries: float | None = None
    seconds: float | None = None


_ONCE: Final = RetryPolicy(1)

RETRY_POLICIES: Final[Mapping[type[Exception], RetryPolicy]] = {
    Paced: RetryPolicy(math.inf),
    Transient: RetryPolicy(),
    # Another worker has a case of the event's; his lease ends by itself.
    Conflict: RetryPolicy(math.inf, seconds=5),
    Permanent: _ONCE,
    InputUnusable: _ONCE,
    Exception: RetryPolicy(MAX_SURPRISES),
}
"""What follows an error, by the first class that it is of.

Two errors are left as they are: while the ledger is away nothing can be written down, and a case of another worker
is his.
"""
_RETRIED: Final = tuple(RETRY_POLICIES)


@dataclass(frozen=True)
class NextTry:
    """When work is tried again, in seconds from now, None for never; and why."""

    seconds: float | None
    reason: str


def next_try(settings: Settings, error: Exception, tried: int) -> NextTry:
    """Tell what follows an error at the try of this number, from 1."""
    kind = next(kind for kind in RETRY_POLICIES if isinstance(error, kind))
    policy = RETRY_POLICIES[kind]
    if kind is Exception:
        log.exception("unexpected")
    if policy is _ONCE:
        return NextTry(None, str(error))
    if tried >= (policy.tries or settings.event_attempts):
        return NextTry(None, f"given up after {tried} attempts: {error}")
    asked = getattr(error, "retry_after", None)
    seconds = policy.seconds or min(float(asked or _FIRST_WAIT * 2 ** min(tried, 12)), _LONGEST_WAIT)
    return NextTry(seconds, str(error))


def process(context: Context, event_id: str) -> float | None:
    """Do an event's work; return the seconds after which to try again, or None when it has ended.

    Raises Conflict when it is ended already or another worker has it, LedgerUnavailable when the ledger is away.
    """
    event = context.ledger.events.claim(event_id, context.owner, context.lease)
    try:
        return _work_on(context, event)
    except (Conflict, LedgerUnavailable):
        context.ledger.events.give_back(event, context.owner)
        raise


def _work_on(context: Context, event: StoredEvent) -> float | None:
    try:
        require_few_deaths(event.deaths)
        with heartbeat(context, partial(context.ledger.events.renew, event.id, context.owner, context.lease)):
            taken = take_in(context, event)
    except LedgerUnavailable:
        raise
    except _RETRIED as error:
        return _put_off_event(context, event, next_try(context.settings, error, event.attempts))
    state = EventState.IGNORED if taken.ignored else EventState.DONE
    context.ledger.events.finish(event.id, context.owner, state, taken.ignored)
    log.info(
        "event", event_id=event.id, type=event.type, state=state, reason=taken.ignored, cases=len(taken.case_ids)
    )
    for case_id in taken.case_ids:
        carry_on(context, case_id, large=event.large)
    return None


def _put_off_event(context: Context, event: StoredEvent, then: NextTry) -> float | None:
    if then.seconds is None:
        context.ledger.events.finish(event.id, context.owner, EventState.FAILED, then.reason)
        step = NextStep("Mend the cause, then take the event up again.", f"metermend retry {event.id}")
        trouble(context, event.id, f"{event.type} could not be worked on", then.reason, step)
        return None
    until = context.clock() + timedelta(seconds=then.seconds)
    context.ledger.events.postpone(event.id, context.owner, until, then.reason)
    log.warning(
        "event_postponed", event_id=event.id, attempt=event.attempts, seconds=then.seconds, error=then.reason
    )
    return then.seconds


def carry_on(context: Context, case_id: str, *, large: bool = True) -> float | None:
    """Advance a case; return the seconds after which to try again where a step has to wait.

    A case that another worker holds is left to him, who sees to it that there is a next try. Without `large`, so is
    a plan of many records to a job of large work. Raises LedgerUnavailable when the ledger is away.
    """
    with suppress(Conflict):
        try:
            case = advance(context, case_id, large=large)
        except (Conflict, LedgerUnavailable):
            raise
        except _RETRIED as error:
            return _put_off_case(context, case_id, error)
        log.info("case", case_id=case_id, state=case.state, failed=case.balance.failed.records)
    return None


def _put_off_case(context: Context, case_id: str, error: Exception) -> float | None:
    with context.ledger.cases.hold(case_id, context.owner, context.lease) as held:
        if isinstance(error, AwaitsPerson):
            with held.transaction(last=True) as transaction:
                transaction.reschedule(context.clock() + LONG_WAIT)
            return None
        if isinstance(error, Paced):
            return _queue_up(context, held, error)
        then = next_try(context.settings, error, held.case.attempts + 1)
        at = None if then.seconds is None else context.clock() + timedelta(seconds=then.seconds)
        told = held.case.due_at is None and held.case.trouble == then.reason  # a late hint came to it again
        with held.transaction(last=True) as transaction:
            transaction.record_failure(then.reason, at)
    if then.seconds is None and not told:
        step = NextStep("Mend the cause, then carry the case on.", f"metermend retry {case_id}")
        trouble(context, case_id, "a case cannot go on", then.reason, step)
    elif then.seconds is not None:
        log.warning("case_postponed", case_id=case_id, seconds=then.seconds, error=then.reason)
    return then.seconds


def _queue_up(context: Context, held: HeldCase, error: Paced) -> float:
    """Let a case wait for its turn, spread over the turns of those that wait with it: that is no failure of it."""
    waiting = context.ledger.queries.case_counts().get(CaseState.AWAITING, 0)
    wait = (error.retry_after or 0.0) * (1 + random.uniform(0, min(max(1, waiting), _MOST_TURNS)))
    submission = open_submission(held)
    since = submission.intended_at if submission else context.clock()
    long = context.clock() - since > LONG_WAIT
    why = f"waiting for its turn since {since:%Y-%m-%d %H:%M} UTC: {error}" if long else None
    with held.transaction(last=True) as transaction:
        transaction.reschedule(context.clock() + timedelta(seconds=wait), trouble=why)
    if why:
        _tell_of_queue(context, held.case.id, why)
    return wait


def _tell_of_queue(context: Context, case_id: str, why: str) -> None:
    told = context.ledger.checkpoints.get(_TOLD_OF_QUEUE)
    now = context.clock()
    if told and is_within(from_text(told), LONG_WAIT, now):
        return
    step = NextStep(
        "See that nothing else writes names that start with metermend- into the folder, and that the clocks agree.",
        "metermend doctor",
    )
    trouble(context, case_id, "a corrected file has waited over an hour for its turn", why, step)
    context.ledger.checkpoints.save(_TOLD_OF_QUEUE, to_text(now))
