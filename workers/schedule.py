"""The clock process: periodic work in one loop, which runs no jobs itself and so never has to fork.

Every `sweep_interval` seconds: sweep the ledger for what is due. Every second: let RQ's scheduler put jobs whose
backoff is over back into their queues. Several clocks may run; what they do twice is found done.
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from redis import Redis
from redis.exceptions import RedisError
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer

from workers.kernel.contract import EVENTS, FILES
from workers.kernel.errors import LedgerUnavailable, Transient
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context
from workers.sweeper import sweep

log = get_logger(__name__)

TICK = 1.0


def run(context: Context, stop: threading.Event) -> None:
    """Run the clock until `stop` is set; failures are logged and tried again at the next turn."""
    redis = Redis.from_url(context.settings.redis_url, socket_timeout=5, socket_connect_timeout=5)
    next_sweep = time.monotonic()
    while not stop.is_set():
        _attempt("retries_not_scheduled", lambda: enqueue_retries(redis))
        if time.monotonic() >= next_sweep:
            _attempt("sweep_failed", lambda: sweep(context))
            next_sweep = time.monotonic() + context.settings.sweep_interval
        stop.wait(TICK)


def run_until_signalled(context: Context) -> None:
    """Run the clock as a process of its own, until SIGTERM or SIGINT."""
    stop = threading.Event()

    def _stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    run(context, stop)


def enqueue_retries(redis: "Redis") -> None:
    """Put jobs whose backoff is over back into their queues. Raises RedisError."""
    scheduler = RQScheduler([EVENTS, FILES], connection=redis, serializer=JSONSerializer)
    scheduler.acquire_locks()  # type: ignore[no-untyped-call]
    scheduler.enqueue_scheduled_jobs()  # type: ignore[no-untyped-call]
    scheduler.release_locks()  # type: ignore[no-untyped-call]


def _attempt(failure: str, work: Callable[[], object]) -> None:
    try:
        work()
    except (Transient, LedgerUnavailable, RedisError) as error:
        log.warning(failure, error=str(error))
