"""The digest of a week: what was refused, what came back, what was let go, and what waits for a person.

It is said once a week, whichever clock is the first, and later where none ran then. A week in which nothing
happened and nothing waits is passed over.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from workers.alerts import Digest, NextStep
from workers.alerts.phrases import moment
from workers.kernel.clock import to_text
from workers.kernel.counting import counted
from workers.kernel.ledger.journal import Tally
from workers.kernel.ledger.span import Waits, refused_since, waits_at, written_off_since
from workers.kernel.money import Money, written
from workers.kernel.settings import WEEKDAYS
from workers.pipeline.context import Context
from workers.pipeline.notify.incident_about import by_meter
from workers.pipeline.notify.pages import page
from workers.pipeline.notify.word import Word

WEEK: Final = timedelta(days=7)
TOLD: Final = "weekly_digest"
"""Checkpoint: for which moment of DIGEST it was said last."""


def is_due(context: Context) -> bool:
    """Whether a week has ended that nothing was said of; of the one in which a service begins, nothing is."""
    due = _last_moment(context)
    if due is None:
        return False
    told = context.ledger.checkpoints.get(TOLD)
    if told is None:
        context.ledger.checkpoints.save(TOLD, to_text(due))
    return told is not None and told < to_text(due)


def words_of_week(context: Context) -> Iterator[Word]:
    """Yield the digest of the week that has ended, if it is still to be said."""
    due = _last_moment(context)
    if due is None or not is_due(context):
        return
    digest = digest_since(context, due - WEEK)
    if digest is None:
        _was_said(context, due, None)
    else:
        yield Word(digest, partial(_was_said, context, due))


def digest_since(context: Context, since: datetime) -> Digest | None:
    """Return the digest of what has happened from a moment on; None where nothing has, and nothing waits."""
    database = context.ledger.database
    refused, written_off = refused_since(database, since), written_off_since(database, since)
    recovered, waits = context.ledger.money.recovered(since), waits_at(database, context.clock())
    if not (refused.records or written_off.records or recovered.records or waits.usage.records):
        return None
    return Digest(
        headline=f"The week since {moment(since)}",
        lines=[
            _line("Refused", refused.records, refused.by_meter),
            _line("Recovered, and proven to count", recovered.records, recovered.by_meter, recovered.money),
            _line("Written off", written_off.records, written_off.by_meter),
            _line("Waiting for you", waits.usage.records, waits.usage.by_meter, waits.money),
            *_times(waits),
        ],
        next_step=_next_step(context, waits),
        about="the week",
    )


def _line(what: str, records: int, meters: Mapping[str, Tally], money: Money | None = None) -> str:
    worth = f", worth {written(money)}" if money else ""
    quantities = f" ({by_meter(meters)})" if records and by_meter(meters) else ""
    return f"{what}: {counted(records, 'record')}{quantities}{worth}"


def _times(waits: Waits) -> Iterator[str]:
    if waits.oldest:
        cases = counted(waits.usage.cases, "case")
        lost = f"; the first usage is lost by {moment(waits.deadline)}" if waits.deadline else ""
        yield f"They are of {cases}, the oldest since {moment(waits.oldest)}{lost}"


def _next_step(context: Context, waits: Waits) -> NextStep:
    if not waits.usage.records:
        return NextStep("Nothing to do.", link=page(context, "/"))
    command = "metermend cases --state needs_person --sort risk"
    return NextStep(
        "Decide what waits, the most urgent first.", command, page(context, "/cases?state=needs_person")
    )


def _last_moment(context: Context) -> datetime | None:
    """Return the last moment of DIGEST that has come; None where it is off."""
    setting, now = context.settings.digest, context.clock()
    if setting == "off":
        return None
    day, _, time = setting.partition(" ")
    hour, minute = map(int, time.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    last = today - timedelta(days=(today.weekday() - WEEKDAYS.index(day)) % 7)
    return last if last <= now else last - WEEK


def _was_said(context: Context, due: datetime, _message: str | None) -> None:
    context.ledger.checkpoints.save(TOLD, to_text(due))
