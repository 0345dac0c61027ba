"""Finishing what crashed or was never started.

1. Events that nobody works on though they are due: their job was lost with Redis, or their worker died.
2. Cases that are due: a confirmation window has passed, a deferred record is valid, a worker died, a wait is over.
3. What people have approved, and what broke off.
4. Cases with records that wait, once the operator's rules have changed: they may need to wait no longer.
5. Events of the wrong mode, which the web only stores: a person is told once.

Due times lie in the ledger, so a sweep is safe to run anywhere, any number of times; a hint that is given twice
finds the row taken.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from workers.alerts import NextStep
from workers.kernel.clock import from_text, to_text
from workers.kernel.event_envelope import LIVEMODE_MISMATCH
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context
from workers.pipeline.desk.desk import carry_on_open
from workers.pipeline.notify import trouble
from workers.pipeline.plan.plan import is_large

log = get_logger(__name__)

BATCH: Final = 500
QUIET: Final = timedelta(seconds=10)
"""A row that became due this recently is probably in the queue already."""
_RULES: Final = "rules_looked_under"
_MISMATCH: Final = "livemode_mismatch_told"


def sweep(context: Context, *, quiet: timedelta = QUIET) -> bool:
    """Hint at what is due, as much as the queues should hold, and tell whether there is more to hint at soon.

    Raises Transient while Redis is away and LedgerUnavailable while the ledger is; the next sweep does the rest.
    """
    context = replace(context)  # the rules of now, not those of the last sweep
    more = [_sweep_events(context, quiet, large=large) for large in (False, True)]
    carry_on_open(context)
    _look_under_new_rules(context)
    cases = context.ledger.cases.due(BATCH, context.lease)
    for case in cases:
        context.queue.enqueue_case(case.id, case.version, large=is_large(case.pending))
    _tell_mismatches(context)
    if cases:
        log.info("swept", cases=len(cases))
    return any(more) or len(cases) == BATCH


def _sweep_events(context: Context, quiet: timedelta, *, large: bool) -> bool:
    """Hint at events, one of each account in turn; while many hints wait, those that are there come first."""
    if context.queue.waiting(large=large) >= BATCH // 2:
        return True
    events = context.ledger.events.due(BATCH, quiet=quiet, large=large, lease=context.lease)
    for event_id, attempts in events:
        context.queue.enqueue_event(event_id, attempts, large=large)
    if events:
        log.info("swept", events=len(events), large=large)
    return len(events) == BATCH


def _look_under_new_rules(context: Context) -> None:
    """Make cases due once for each change: machines with rules of their own must not take turns at them."""
    digest = context.rules_in_force.digest
    if context.ledger.checkpoints.get(_RULES) != digest:
        due = context.ledger.awaited.make_due(digest)
        context.ledger.checkpoints.save(_RULES, digest)
        log.info("rules_changed", cases=due)


def _tell_mismatches(context: Context) -> None:
    told = context.ledger.checkpoints.get(_MISMATCH)
    since = from_text(told) if told else datetime.min.replace(tzinfo=context.clock().tzinfo)
    found = context.ledger.events.ignored_since(LIVEMODE_MISMATCH, since)
    if not found:
        return
    newest, count = found
    trouble(
        context,
        "livemode",
        f"{count} events of the other mode arrived",
        "They are stored and ignored: the API key's mode and the event destination's mode differ.",
        NextStep(
            "Give the live key to the live destination and the test key to the sandbox's.", "metermend doctor"
        ),
    )
    context.ledger.checkpoints.save(_MISMATCH, to_text(newest))
