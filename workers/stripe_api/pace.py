"""How fast Stripe is asked: a ceiling per kind of call, halved whenever Stripe asks to slow down."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

BURST_SECONDS: Final = 1.0
"""Calls of so many seconds may go out at once after a silence."""
RECOVERY: Final = 0.02
"""Share of the ceiling that the pace regains each second after it was halved."""
FLOOR: Final = 1.0
"""Calls per second that remain however often Stripe asks to slow down."""
HALVE_EVERY: Final = 1.0
"""Seconds in which several refusals count as one: the calls in flight were all sent at the old pace."""


@dataclass(frozen=True)
class Limits:
    """Calls per second, as Stripe allows them in live mode (Stripe docs, "Rate limits").

    A sandbox allows a quarter, and there meter events count with the rest; the pace comes down by itself when
    Stripe says so, which is cheaper than to send a live account's usage at a sandbox's pace by mistake.
    The stream takes 10,000 a second, of calls by one page and of events by another: a call has 100 of them.
    """

    basic: float = 100.0
    meter_events: float = 1000.0
    stream: float = 100.0
    files: float = 20.0
    search: float = 20.0


class Pace:
    """Lets calls through at no more than `per_second`; safe for several threads."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ceiling = per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._seen = clock()
        self._next_slot = self._seen - BURST_SECONDS
        self._halved = self._seen - HALVE_EVERY
        self.per_second = per_second

    def wait(self) -> None:
        """Sleep until the next call may go out."""
        with self._lock:
            now = self._clock()
            regained = self._ceiling * RECOVERY * (now - self._seen)
            self._seen, self.per_second = now, min(self._ceiling, self.per_second + regained)
            slot = max(self._next_slot, now - BURST_SECONDS)
            self._next_slot = slot + 1 / self.per_second
        if slot > now:
            self._sleep(slot - now)

    def slow_down(self) -> None:
        """Halve the pace, for Stripe has refused a call for its rate."""
        with self._lock:
            now = self._clock()
            if now - self._halved >= HALVE_EVERY:
                self._halved = now
                self._next_slot = max(self._next_slot, now)
                self.per_second = max(FLOOR, self.per_second / 2)
