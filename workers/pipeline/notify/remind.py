"""Reminders: records that still wait for a person when 50, 75 and 90 % of their time are gone.

The clock writes down which cases have come so far, and `deliver` says it: one message for all of an incident.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from workers.alerts import Notice
from workers.kernel.ledger.reminders import Reminder, Waiting
from workers.kernel.logs import get_logger
from workers.kernel.places import DASHBOARD
from workers.pipeline.context import Context
from workers.pipeline.notify.case_status import CaseStatus
from workers.pipeline.notify.incident_notice import in_full, lost_of, notice_of
from workers.pipeline.notify.word import Word

log = get_logger(__name__)


def remind(context: Context) -> None:
    """Write down of which cases people are to be reminded. Raises LedgerUnavailable."""
    now = context.clock()
    waiting = (one for one in context.ledger.reminders.waiting() if _waits_for_a_person(context, one))
    shares = ((one, one.reached(now)) for one in waiting)
    reached = [(one, share) for one, share in shares if share is not None]
    if reached:
        context.ledger.reminders.note(reached)
        log.info("reminders", cases=len(reached))


def words_of_reminders(context: Context) -> Iterator[Word]:
    """Yield a reminder for each incident; what was settled meanwhile is written down as told."""
    by_incident: defaultdict[str, list[Reminder]] = defaultdict(list)
    for one in context.ledger.reminders.due():
        by_incident[one.incident_id].append(one)
    for incident_id, due in by_incident.items():
        notice = _notice(context, incident_id, due)
        if notice is None:
            context.ledger.reminders.told(due)
        else:
            yield Word(notice, partial(_was_said, context, due))


def left(time: timedelta) -> str:
    """Return a length of time as people say it: `12 days`, `5 hours`, `40 minutes`."""
    minutes = int(time.total_seconds() // 60)
    sizes = (("day", minutes // 1440), ("hour", minutes // 60), ("minute", minutes))
    unit, count = next(((unit, count) for unit, count in sizes if count > 1), sizes[-1])
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _waits_for_a_person(context: Context, one: Waiting) -> bool:
    target = context.target_of(one.account)
    goes_by_itself = target is not None and target.name != DASHBOARD
    return one.quarantined or one.stopped or (one.planned and not goes_by_itself)


def _notice(context: Context, incident_id: str, due: Sequence[Reminder]) -> Notice | None:
    mine = {one.case_id for one in due}
    statuses = [CaseStatus.from_json(status) for status in context.ledger.incidents.statuses(incident_id)]
    waiting = [status for status in statuses if status.case_id in mine and not status.settled]
    incident = context.ledger.incidents.get(incident_id)
    if not waiting or incident is None:
        return None
    notice = in_full(context, incident, notice_of(context, incident, waiting, over=False))
    time = min(one.deadline for one in due) - context.clock()
    when = f"{left(time)} left" if time > timedelta(0) else "too late for the first of it"
    first = context.ledger.cases.get(due[0].case_id)
    return replace(notice, headline=f"Reminder, {when}: {notice.headline}", **(lost_of(first) if first else {}))


def _was_said(context: Context, due: Sequence[Reminder], _message: str | None) -> None:
    context.ledger.reminders.told(due)
