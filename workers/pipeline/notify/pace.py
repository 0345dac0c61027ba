"""How much a channel may be told: who is told too much reads nothing, and Slack refuses it.

The first messages of an hour go out at once, the last ones are kept for digests, a quarter of an hour apart. So a
storm never silences the channel for the rest of the hour.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from workers.kernel.clock import Clock, is_within
from workers.kernel.errors import Transient
from workers.kernel.ledger.alert_channels import Turn

HOUR: Final = timedelta(hours=1)
MESSAGES: Final = 10
"""New messages in any hour, digests included."""
DIGESTS: Final = 3
"""How many of them are kept for digests."""
DIGEST_GAP: Final = timedelta(minutes=15)
"""How long after the message before a digest may go."""
UPDATES: Final = 100
"""Changes of earlier messages in any hour: they call nobody."""
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = HOUR


class Pace:
    """What may be said in a turn on a channel. It is counted before it is said: a crash makes it no more."""

    def __init__(self, turn: Turn, clock: Clock) -> None:
        self._turn = turn
        self._clock = clock

    @property
    def paused(self) -> bool:
        """Whether Slack asked for a pause, or does not answer: no process says anything then."""
        until = self._turn.told.paused_until
        return until is not None and self._clock() < until <= self._clock() + LONGEST_PAUSE

    def has_room(self) -> bool:
        """Whether a message may go at once."""
        return len(self._lately(self._turn.told.messages)) < MESSAGES - DIGESTS

    def has_room_for_digest(self) -> bool:
        """Whether a digest may go, or the only message that waits."""
        lately = self._lately(self._turn.told.messages)
        quiet = not lately or self._clock() - max(lately) >= DIGEST_GAP
        return len(lately) < MESSAGES and (quiet or self.has_room())

    def has_room_for_update(self) -> bool:
        """Whether an earlier message may be changed."""
        return len(self._lately(self._turn.told.updates)) < UPDATES

    @contextmanager
    def speaking(self, *, update: bool = False) -> Iterator[None]:
        """Count a message or an update while it goes out. Raises Conflict where the turn was lost.

        What Slack does not take counts as not said, and pauses all processes: as long as it asks for, else longer
        each time.
        """
        before = self._turn.told
        said = "updates" if update else "messages"
        self._turn.save(**{said: [*self._lately(getattr(before, said)), self._clock()]})
        try:
            yield
        except Transient as error:
            pause = error.retry_after or FIRST_PAUSE.total_seconds() * 2 ** min(before.failures, 10)
            until = self._clock() + min(timedelta(seconds=pause), LONGEST_PAUSE)
            self._turn.save(**{said: getattr(before, said)}, failures=before.failures + 1, paused_until=until)
            raise
        if before.failures:
            self._turn.save(failures=0, paused_until=None)

    def _lately(self, moments: Sequence[datetime]) -> list[datetime]:
        return [moment for moment in moments if is_within(moment, HOUR, self._clock())]
