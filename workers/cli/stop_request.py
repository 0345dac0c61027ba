"""The wish that a worker ends: heard once for the whole process, and looked at between two steps."""

import signal
import time
from typing import Final

ONE_WISH: Final = 1.0
"""Seconds in which two signals are one wish: a terminal tells each process, and `serve` its own again."""


class Stop:
    """The wish that this process ends, kept from the first signal on.

    RQ raises it out of the signal's handler instead, at whatever line that finds; where a library catches every
    exception there, redis-py as it counts its calls, the wish was lost and the worker stayed.
    """

    def __init__(self) -> None:
        self._asked_at: float | None = None

    @property
    def asked(self) -> bool:
        return self._asked_at is not None

    def install(self) -> None:
        """Hear SIGTERM and SIGINT, as long as the process lives."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._hear())

    def _hear(self) -> None:
        """Note the wish. Whoever repeats it does not want to wait for the job in hand: raises SystemExit."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > ONE_WISH:
            raise SystemExit(1)
