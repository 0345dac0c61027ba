"""SIGTERM and SIGHUP end a command as Ctrl-C does: by KeyboardInterrupt, so that what it started is stopped."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """The signal that was sent."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise Stopped in the block on a signal; one that this process was started to ignore (nohup) stays ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no further signal break off the block, which must end by itself."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return what a shell expects of a process that a signal ended."""
    return 128 + (interrupt.number if isinstance(interrupt, Stopped) else signal.SIGINT)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)
