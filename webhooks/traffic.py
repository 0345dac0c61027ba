"""What Stripe's posts tell of the service: that they come, and that their signatures are refused.

It is written down at most once a minute by each process, so that no flood of posts becomes one of writes.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from workers.kernel.clock import Clock, is_within
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.logs import get_logger
from workers.kernel.service_health import REFUSAL_SPAN, REFUSALS

log = get_logger(__name__)

PAUSE: Final = timedelta(minutes=1)


class Traffic:
    """What one web process has seen."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._noted: dict[Sign, datetime] = {}
        self._refused: deque[datetime] = deque(maxlen=REFUSALS)

    def note_taken(self) -> None:
        """Note that a signed post was taken."""
        self._note(Sign.WEBHOOK)

    def note_bad_signature(self) -> None:
        """Note that a post was signed by no secret of ours; the other destination's may come in between."""
        self._refused.append(self._clock())
        if len(self._refused) == REFUSALS and is_within(self._refused[0], REFUSAL_SPAN, self._clock()):
            self._note(Sign.SIGNATURES_REFUSED)

    def _note(self, sign: Sign) -> None:
        now = self._clock()
        if sign in self._noted and is_within(self._noted[sign], PAUSE, now):
            return
        self._noted[sign] = now
        try:
            self._ledger.heartbeats.beat(sign)
        except LedgerUnavailable as error:
            log.warning("sign_not_noted", sign=sign, error=str(error))
