"""Saying what is new, as much of it as the channel may be told now. The clock does it, every few seconds.

1. An incident that is due is looked at: there is something to say when it opens, when it has ten times the records,
   when a person must do something else, and when it is over.
2. One process at a time speaks on a channel (`kernel/ledger/alert_channels.py`), and no more than `pace` allows.
3. What was said is written down after it was said: a crash in between says it once more.
4. Reminders (`remind`), all cases of an incident in one, and the digest of a week (`weekly`) are said likewise.
5. What may not be said yet stays due, and goes into one digest as soon as there is room.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from workers.alerts import Alert, Digest, NextStep, Notice
from workers.kernel.errors import Conflict, Permanent, Transient
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.ledger.incidents import Incident
from workers.kernel.ledger.troubles import StoredTrouble
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context
from workers.pipeline.notify.incident_words import Look
from workers.pipeline.notify.pace import DIGEST_GAP, HOUR, MESSAGES, Pace
from workers.pipeline.notify.pages import page
from workers.pipeline.notify.remind import words_of_reminders
from workers.pipeline.notify.troubles import trouble_of
from workers.pipeline.notify.weekly import is_due, words_of_week
from workers.pipeline.notify.word import Word

log = get_logger(__name__)

QUIET: Final = timedelta(seconds=3)
"""How long an incident waits for more of its cases before it is looked at."""
LARGEST: Final = 5
"""What a digest names, of the rest it tells how much there is."""


def deliver(context: Context, *, quiet: timedelta = QUIET) -> None:
    """Say what is new, as far as the channel may be told now. Raises LedgerUnavailable."""
    if not _something_is_due(context, quiet):
        return
    with context.ledger.alert_channels.turn(context.alerts.channel, context.owner) as turn:
        pace = Pace(turn, context.clock) if turn else None
        if pace is None or pace.paused:
            return
        # Looked for again: what was due before the turn was ours may have been said by another process.
        words = [
            *_words_of_troubles(context),
            *_words_of_incidents(context, quiet),
            *words_of_reminders(context),
            *words_of_week(context),
        ]
        try:
            _say(context, pace, words)
        except (Transient, Conflict) as error:
            log.warning("alerts_wait", error=str(error))
        context.ledger.troubles.forget(context.clock() - HOUR)


def _something_is_due(context: Context, quiet: timedelta) -> bool:
    notes = _due_incidents(context, quiet) or _due_troubles(context) or context.ledger.reminders.due()
    return bool(notes) or is_due(context)


def _due_incidents(context: Context, quiet: timedelta) -> Sequence[Incident]:
    return context.ledger.incidents.due(quiet, timedelta(seconds=context.settings.incident_gap))


def _due_troubles(context: Context) -> Sequence[StoredTrouble]:
    return context.ledger.troubles.due(DIGEST_GAP)


def _words_of_incidents(context: Context, quiet: timedelta) -> Iterator[Word]:
    """Yield what is to be said of incidents; of those that have nothing new, that is written down."""
    for incident in _due_incidents(context, quiet):
        look = Look(context, incident)
        if look.has_news:
            yield Word(look.notice(), look.was_said, look.earlier, look.notice_in_full)
        else:
            look.had_no_news()


def _words_of_troubles(context: Context) -> Iterator[Word]:
    for stored in _due_troubles(context):
        yield Word(trouble_of(context, stored), partial(_trouble_was_said, context, stored))


def _trouble_was_said(context: Context, stored: StoredTrouble, _message: str | None) -> None:
    context.ledger.troubles.told(stored)


def _say(context: Context, pace: Pace, words: Sequence[Word]) -> None:
    """Say the words one by one while there is room, and what is left in one digest."""
    for word in words:
        if word.earlier and pace.has_room_for_update():
            _post(context, pace, word)
    may_digest = pace.has_room_for_digest()
    new = sorted((word for word in words if not word.earlier), key=_rank)
    while new and (pace.has_room() or (len(new) == 1 and may_digest)):
        _post(context, pace, new.pop(0))
    held = [word for word in new if not isinstance(word.alert, Digest)]  # a week's stays due: it says much itself
    if held and may_digest:
        _post(context, pace, Word(_digest(context, held), partial(_all_were_said, held)))
    elif new:
        log.info("alerts_held_back", count=len(new))


def _rank(word: Word) -> tuple[bool, bool, int]:
    """Order what broke before incidents, those that ask for something before others, and the largest first."""
    notice = word.alert if isinstance(word.alert, Notice) else None
    return notice is not None, notice is not None and not notice.reasons, -_records(word.alert)


def _records(alert: Alert) -> int:
    return sum(code.refused.records for code in alert.codes) if isinstance(alert, Notice) else 0


def _post(context: Context, pace: Pace, word: Word) -> None:
    """Say one word and write that down. Raises Transient where the channel is away, and all else must wait, too."""
    message, sign = None, Sign.ALERT_TAKEN
    with pace.speaking(update=word.earlier is not None):
        try:
            message = context.alerts.post(word.in_full() if word.in_full else word.alert, word.earlier)
        except Permanent as error:  # it will never be taken, and must not keep the others from being said
            log.error("alert_refused", headline=word.alert.headline, error=str(error))
            sign = Sign.ALERT_FAILED
        except Transient:
            context.ledger.heartbeats.beat(Sign.ALERT_FAILED)
            raise
    word.said(message)
    context.ledger.heartbeats.beat(sign)


def _all_were_said(words: Sequence[Word], _message: str | None) -> None:
    for word in words:
        word.said(None)


def _digest(context: Context, words: Sequence[Word]) -> Digest:
    """Return in one alert what was held back; `words` are in the order of `_rank`."""
    notices = [word.alert for word in words if isinstance(word.alert, Notice)]
    cases, records = sum(notice.cases for notice in notices), sum(map(_records, notices))
    incidents = f"{len(notices):,} incidents with {cases:,} cases and {records:,} refused records"
    counted = [incidents] if notices else []
    if len(notices) < len(words):
        counted.append(f"{len(words) - len(notices):,} troubles")
    rest = len(words) - LARGEST
    return Digest(
        headline=f"Held back: {' and '.join(counted)}",
        lines=[
            *(f"• {word.alert.headline}" for word in words[:LARGEST]),
            *([f"and {rest:,} more"] if rest > 0 else []),
        ],
        next_step=NextStep(
            f"No more than {MESSAGES} messages go out in an hour. List what they were about, the newest first.",
            "metermend incidents",
            page(context, "/"),
        ),
    )
