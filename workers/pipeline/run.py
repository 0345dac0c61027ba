"""One event, from claimed to ended: taken in, its cases carried on, and every failure ended where it can be seen.

- Transient: the event waits and is tried again, `event_attempts` times; what nobody expected, six times.
- Permanent: the event ends as failed, with the reason, and a person is told.
- A worker that died over it or its case three times: likewise, so that it cannot take the others down with it.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

from workers.alerts import NextStep
from workers.kernel.clock import from_text, is_within, to_text
from workers.kernel.errors import Conflict, InputUnusable, LedgerUnavailable, Paced, Permanent, Transient
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState, StoredEvent
from workers.kernel.ledger.leases import MAX_DEATHS
from workers.kernel.logs import get_logger
from workers.pipeline.advance import advance
from workers.pipeline.context import Context
from workers.pipeline.heartbeat import heartbeat
from workers.pipeline.intake import take_in
from workers.pipeline.notify import trouble
from workers.pipeline.submit.send import open_submission

log = get_logger(__name__)

MAX_SURPRISES: Final = 6
_FIRST_WAIT: Final = 2.0
_LONGEST_WAIT: Final = 900.0
_BUSY_WAIT: Final = 5.0
LONG_WAIT: Final = timedelta(hours=1)
"""After so long in the queue of a target a case says so, and a person is told, at most once in as long."""
_TOLD_OF_QUEUE: Final = "queue_told"


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
    if event.deaths >= MAX_DEATHS:
        _fail(context, event, f"a worker died over it {event.deaths} times")
        return None
    try:
        with heartbeat(context, partial(context.ledger.events.renew, event.id, context.owner, context.lease)):
            taken = take_in(context, event)
    except (Transient, Conflict) as error:
        return _postpone(context, event, error)
    except (Permanent, InputUnusable) as error:
        _fail(context, event, str(error))
        return None
    except LedgerUnavailable:
        raise
    except Exception as error:
        log.exception("unexpected", event_id=event.id)
        return _postpone(context, event, error)
    state = EventState.IGNORED if taken.ignored else EventState.DONE
    context.ledger.events.finish(event.id, context.owner, state, taken.ignored)
    log.info(
        "event", event_id=event.id, type=event.type, state=state, reason=taken.ignored, cases=len(taken.case_ids)
    )
    for case_id in taken.case_ids:
        carry_on(context, case_id, large=event.large)
    return None


def carry_on(context: Context, case_id: str, *, large: bool = True) -> float | None:
    """Advance a case; return the seconds after which to try again where a step has to wait.

    A case that another worker holds is left to it.
    """

    def work() -> None:
        case = advance(context, case_id, large=large)
        log.info("case", case_id=case_id, state=case.state, failed=case.balance.failed.records)

    return _endured(context, case_id, work, _stumble)


_Stumble = Callable[[Context, str, Exception], float | None]


def _endured(context: Context, case_id: str, work: Callable[[], None], stumble: _Stumble) -> float | None:
    """Do work for a case and end every failure where it can be seen; return the seconds until the next attempt.

    Whoever holds the case meanwhile sees to it that there is one.
    """
    with suppress(Conflict):
        return _ended(context, case_id, work, stumble)
    return None


def _ended(context: Context, case_id: str, work: Callable[[], None], stumble: _Stumble) -> float | None:
    try:
        work()
    except Paced as error:
        return _queue_up(context, case_id, error)
    except Transient as error:
        return stumble(context, case_id, error)
    except (Permanent, InputUnusable) as error:
        _give_up(context, case_id, str(error))
    except (Conflict, LedgerUnavailable):
        raise
    except Exception as error:
        log.exception("unexpected", case_id=case_id)
        return stumble(context, case_id, error)
    return None


def wait_before(attempt: int, error: Exception) -> float:
    """Return the seconds before the next attempt: what the far side asked for, else doubling up to 15 minutes."""
    asked = getattr(error, "retry_after", None)
    return min(float(asked) if asked else _FIRST_WAIT * 2 ** min(attempt, 12), _LONGEST_WAIT)


def _most_attempts(context: Context, error: Exception) -> int:
    """Return how often to try: long while something is away, not for long where the fault may be ours."""
    return context.settings.event_attempts if isinstance(error, Transient) else MAX_SURPRISES


def _postpone(context: Context, event: StoredEvent, error: Exception) -> float | None:
    busy = isinstance(error, Conflict)  # another worker's lease, which ends by itself
    if event.attempts >= _most_attempts(context, error) and not busy:
        _fail(context, event, f"given up after {event.attempts} attempts: {error}")
        return None
    wait = _BUSY_WAIT if busy else wait_before(event.attempts, error)
    until = context.clock() + timedelta(seconds=wait)
    context.ledger.events.postpone(event.id, context.owner, until, str(error))
    log.warning("event_postponed", event_id=event.id, attempt=event.attempts, seconds=wait, error=str(error))
    return wait


def _fail(context: Context, event: StoredEvent, reason: str) -> None:
    context.ledger.events.finish(event.id, context.owner, EventState.FAILED, reason)
    step = NextStep("Mend the cause, then take the event up again.", f"metermend retry {event.id}")
    trouble(context, event.id, f"{event.type} could not be worked on", reason, step)


def _queue_up(context: Context, case_id: str, error: Paced) -> float:
    """Let a case wait for its turn, spread over the turns of those that wait with it."""
    waiting = context.ledger.queries.case_counts().get(CaseState.AWAITING, 0)
    wait = (error.retry_after or 0.0) * (1 + random.uniform(0, max(1, waiting)))
    with context.ledger.cases.hold(case_id, context.owner, context.lease) as held:
        submission = open_submission(held)
        since = submission.intended_at if submission else context.clock()
        long = context.clock() - since > LONG_WAIT
        why = f"waiting for its turn since {since:%Y-%m-%d %H:%M} UTC: {error}" if long else None
        with held.transaction() as transaction:
            transaction.wake(context.clock() + timedelta(seconds=wait), trouble=why)
    if why:
        _tell_of_queue(context, case_id, why)
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


def _stumble(context: Context, case_id: str, error: Exception) -> float | None:
    case = context.ledger.cases.get(case_id)
    if case is None or case.attempts + 1 >= _most_attempts(context, error):
        _give_up(context, case_id, f"given up: {error}")
        return None
    wait = wait_before(case.attempts + 1, error)
    with (
        context.ledger.cases.hold(case_id, context.owner, context.lease) as held,
        held.transaction() as transaction,
    ):
        transaction.stumble(str(error), context.clock() + timedelta(seconds=wait))
    log.warning("case_postponed", case_id=case_id, seconds=wait, error=str(error))
    return wait


def _give_up(context: Context, case_id: str, reason: str) -> None:
    case = context.ledger.cases.get(case_id)
    if case is not None and case.trouble == reason and case.due_at is None:
        return  # another part of its plan has said so
    with (
        context.ledger.cases.hold(case_id, context.owner, context.lease) as held,
        held.transaction() as transaction,
    ):
        transaction.stumble(reason, None)
    step = NextStep("Mend the cause, then carry the case on.", f"metermend retry {case_id}")
    trouble(context, case_id, "a case cannot go on", reason, step)
