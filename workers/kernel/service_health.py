"""How the service itself is, part by part, by the signs of life in the ledger: for /readyz, alerts and doctor.

What is wrong here keeps nobody from taking webhooks in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from workers.kernel.clock import is_within
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.settings import MIB, Settings

BEAT: Final = timedelta(seconds=15)
"""Between two signs of life of a process, at most."""
LOOK: Final = timedelta(seconds=30)
"""Between two looks of the clock at the archive, and at all parts."""
MISSED_BEATS: Final = 3
"""Signs in a row that must fail to come before a part counts as dead."""
LEAST_SILENCE: Final = timedelta(seconds=10)
LEAST_FREE: Final = 256 * MIB
"""Bytes that must be free where we write; below, events will soon be refused."""
QUEUE_LIMIT: Final = timedelta(minutes=5)
"""How long an event may wait before people are told."""
REFUSALS: Final = 5
REFUSAL_SPAN: Final = timedelta(hours=1)
"""So many refused signatures in so short a time mean a secret that was rolled; one is anybody's."""

Signs = Mapping[str, datetime]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a part: in a few words, what follows from it, and what to do by which command."""

    headline: str
    detail: str
    mend: str
    command: str = "metermend doctor"


def faults(ledger: Ledger, settings: Settings, now: datetime) -> Mapping[str, Fault | None]:
    """Return what is wrong with each part, None where it is well. Raises LedgerUnavailable."""
    seen = ledger.heartbeats.last()
    return {
        "worker": _worker(seen, now),
        "clock": _clock(seen, settings, now),
        "archive": _archive(seen, settings, now),
        "webhooks": _webhooks(seen, settings, now),
        "signatures": _signatures(seen, now),
        "queue": _queue(ledger.queries.oldest_unprocessed()),
        "slack": _slack(seen),
    }


def clock_beat(settings: Settings) -> timedelta:
    """Return how often the clock gives a sign: its death shows within two of its rounds, or `LEAST_SILENCE`."""
    return max(min(BEAT, timedelta(seconds=settings.sweep_interval / 2)), timedelta(seconds=1))


def _worker(seen: Signs, now: datetime) -> Fault | None:
    if _lives(seen, Sign.WORKER, BEAT, now):
        return None
    return Fault(
        "no worker runs",
        f"Webhooks are stored, and nobody works on them. {_last(seen, Sign.WORKER)}",
        "Start a worker.",
        "metermend worker",
    )


def _clock(seen: Signs, settings: Settings, now: datetime) -> Fault | None:
    if _lives(seen, Sign.CLOCK, clock_beat(settings), now):
        return None
    return Fault(
        "no clock runs",
        f"Nothing is tried again, confirmed or told to anybody. {_last(seen, Sign.CLOCK)}",
        "Start the clock.",
        "metermend clock",
    )


def _archive(seen: Signs, settings: Settings, now: datetime) -> Fault | None:
    """Judge by what the clock sees; while that is dead, nobody looks."""
    if _lives(seen, Sign.ARCHIVE, LOOK, now) or not _lives(seen, Sign.CLOCK, clock_beat(settings), now):
        return None
    return Fault(
        "the archive does not answer",
        f"Cases wait until it does. {_last(seen, Sign.ARCHIVE)}",
        "See ARCHIVE_URL, its credentials and the network.",
    )


def _webhooks(seen: Signs, settings: Settings, now: datetime) -> Fault | None:
    """Judge where webhooks came before; where nothing is refused, Stripe may be silent for good reason."""
    longest = timedelta(hours=settings.silence_hours)
    if not longest or Sign.WEBHOOK not in seen or is_within(seen[Sign.WEBHOOK], longest, now):
        return None
    return Fault(
        f"no webhook has come for {settings.silence_hours} hours",
        f"{_last(seen, Sign.WEBHOOK)} That is well if no usage was refused and no file was imported.",
        "Look in Stripe whether both destinations are enabled and lead here; SILENCE_HOURS says when to tell.",
    )


def _signatures(seen: Signs, now: datetime) -> Fault | None:
    if Sign.SIGNATURES_REFUSED not in seen or not is_within(seen[Sign.SIGNATURES_REFUSED], REFUSAL_SPAN, now):
        return None
    return Fault(
        "webhooks are refused: no secret of ours has signed them",
        f"{REFUSALS} or more within an hour: a signing secret was rolled, or a destination is new. Stripe delivers "
        "them again for three days.",
        "Add the destination's signing secret to STRIPE_WEBHOOK_SECRETS and restart the web.",
    )


def _queue(waited: timedelta) -> Fault | None:
    if waited <= QUEUE_LIMIT:
        return None
    return Fault(
        f"events have waited for more than {QUEUE_LIMIT.seconds // 60} minutes",
        "Too few workers run, Redis is away, or what an event needs (Stripe, the usage sources) does not answer.",
        "See which parts work, and the reason on the pages of the events that wait.",
    )


def _slack(seen: Signs) -> Fault | None:
    failed, taken = seen.get(Sign.ALERT_FAILED), seen.get(Sign.ALERT_TAKEN)
    if failed is None or (taken is not None and taken >= failed):
        return None
    return Fault(
        "Slack has not taken the last message",
        f"It was tried at {_moment(failed)}. What is due waits; what Slack refused for good is lost.",
        "See what Slack says of a message.",
        "metermend alert test",
    )


def _lives(seen: Signs, sign: Sign, every: timedelta, now: datetime) -> bool:
    return sign in seen and is_within(seen[sign], max(MISSED_BEATS * every, LEAST_SILENCE), now)


def _last(seen: Signs, sign: Sign) -> str:
    return f"Last seen at {_moment(seen[sign])}." if sign in seen else "None was ever seen."


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
