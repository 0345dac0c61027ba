"""Keeping the lease on an event or a case while it is worked on: long work must not be taken for a worker's death.

A worker that is killed beats no more, so what it held is free after one lease. One that hangs beats until its job's
timeout ends it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from workers.kernel.errors import Conflict, LedgerUnavailable
from workers.pipeline.context import Context

BEATS: Final = 3
"""Renewals in the time of one lease: two may fail before it is lost."""
LAST_SECONDS: Final = 10.0


@contextmanager
def heartbeat(context: Context, renew: Callable[[], None]) -> Iterator[None]:
    """Renew a lease for as long as the block runs; `renew` raises Conflict when it was lost."""
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(context, renew, done), name="heartbeat", daemon=True)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join(LAST_SECONDS)


def _beat(context: Context, renew: Callable[[], None], done: threading.Event) -> None:
    while not done.wait(context.lease.total_seconds() / BEATS):
        try:
            renew()
        except Conflict:
            return  # another worker has it; the work ends with its own Conflict
        except LedgerUnavailable:
            continue
