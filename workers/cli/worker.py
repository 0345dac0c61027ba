"""`metermend worker` and `metermend clock`: the two processes behind the web.

Workers do not fork for each job: that costs three quarters of the throughput, a killed parent leaves its child
running anyway, and a process that has executed polars must not fork. The ledger's leases, not RQ, decide when the
work of a dead worker is taken up. Nor do workers end with Redis, as RQ's own do: it holds hints only, so what could
not be written there the sweeper finds in the ledger.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import click
from redis import Redis
from redis.client import Pipeline, PubSub, PubSubWorkerThread
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout
from rq import Queue
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from workers.cli.main import signals_answered
from workers.cli.main import stop as break_off
from workers.cli.open_ledger import await_ledger
from workers.cli.stop_request import Stop
from workers.kernel import logs
from workers.kernel.errors import LedgerUnavailable, SettingsUnusable
from workers.kernel.jobqueue import EVENTS, FILES, LARGE_TIMES
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.logs import get_logger
from workers.kernel.redis_address import connect_redis, shown_address
from workers.kernel.service_health import BEAT
from workers.kernel.settings import Settings, load
from workers.known_job import KnownJob


@click.command()
@click.option(
    "--queue", "queues", multiple=True, type=click.Choice([EVENTS, FILES]), help="Default: both, events first."
)
@click.option("--burst", is_flag=True, help="Stop when the queues are empty.")
def worker(queues: tuple[str, ...], *, burst: bool) -> None:
    """Work on events and cases until stopped. Start as many as you like, on any machine."""
    settings = load()
    redis = _ready(settings)
    threading.Thread(target=_beat, daemon=True).start()
    work(redis, queues or (EVENTS, FILES), job_timeout=settings.job_timeout, burst=burst)


@click.command()
def clock() -> None:
    """Sweep the ledger for what is due, and reconcile with Stripe. One is enough; more do no harm."""
    from workers.bootstrap import context
    from workers.schedule import run_until_signalled

    _ready(load())
    run_until_signalled(context)


def _beat() -> None:
    """Give signs of life, also while a long job runs or Redis is away."""
    from workers.bootstrap import context

    ledger = context().ledger
    while True:
        with suppress(LedgerUnavailable):
            ledger.heartbeats.beat(Sign.WORKER)
        time.sleep(BEAT.total_seconds())


def _ready(settings: Settings) -> Redis:
    """Return Redis once all that the settings name can be used; a start that must fail fails here, in one line.

    Raises SettingsUnusable and LedgerUnavailable. A ledger that is not migrated yet is waited for.
    """
    from workers.bootstrap import context

    logs.configure(settings.log_format)
    redis = reachable(settings.redis_url.get_secret_value())
    with signals_answered(break_off):  # the first process of a container hears no signal that it has no answer to
        await_ledger(settings)
    context()
    return redis


log = get_logger(__name__)

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
"""Seconds between two looks for a Redis that is away; each wait is twice the one before."""
REFUSED_PAUSE: Final = 0.1
"""Seconds after something in a queue that cannot be read: a queue that is itself of the wrong type stays so."""
LOOK: Final = 1
"""Seconds between two looks, of a worker that waits, at whether it is to stop."""


def reachable(url: str) -> Redis:
    """Return a client of the Redis at `url`. Raises SettingsUnusable where none answers."""
    redis = connect_redis(url)
    try:
        redis.ping()
    except RedisError as error:
        raise SettingsUnusable(
            f"no Redis at {shown_address(url)}: {error}",
            where="REDIS_URL",
            mend="start it, or let `metermend serve` start one",
        ) from None
    return redis


def work(redis: Redis, names: Sequence[str], *, job_timeout: int, burst: bool) -> None:
    """Work on the queues until stopped, or with `burst` until they are empty, through any outage of Redis.

    `job_timeout` is how many seconds a job of small work may take.
    """
    logging.getLogger("rq.worker").addFilter(_tells_no_outage)
    queues = [Queue(name, connection=redis, job_class=KnownJob, serializer=JSONSerializer) for name in names]
    stop = Stop()
    stop.install()
    while not stop.asked:
        try:
            worker = PatientWorker(queues, connection=redis, job_class=KnownJob, serializer=JSONSerializer)
            worker.stop = stop
            worker.seconds = {EVENTS: job_timeout, FILES: job_timeout * LARGE_TIMES}
            with suppress(RedisError):  # as it takes leave of a Redis that is away
                worker.work(burst=burst, logging_level="WARNING")
            if burst or stop.asked:
                return
            worker.await_redis()
            time.sleep(FIRST_WAIT)  # what broke the work off, a key of the wrong type say, may be there still
        except RedisError as error:
            log.warning("redis_away", error=str(error))
            time.sleep(FIRST_WAIT)
        except StopRequested:
            return


class PatientWorker(SimpleWorker):
    """Waits for Redis wherever RQ would give up, and outlasts whatever stands in its queues."""

    stop: Stop
    seconds: Mapping[str, int]
    """Queue -> how long a job of it may take, whatever stands in Redis."""

    @property
    def _stop_requested(self) -> bool:
        """Tell RQ, between two jobs and while it is suspended, whether to stop."""
        return self.stop.asked

    @_stop_requested.setter
    def _stop_requested(self, requested: bool) -> None:
        """Let RQ set it, as it does once: as a worker is made."""

    def _install_signal_handlers(self) -> None:
        """Leave the signals to `Stop`."""

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Leave RQ's registries alone: nothing is looked up in them, and others may write to them."""
        return False

    def await_redis(self) -> None:
        """Wait until Redis answers, saying once that it does not. Raises StopRequested when asked to stop."""
        wait = FIRST_WAIT
        while True:
            try:
                self.connection.ping()
                break
            except RedisError as error:
                if wait == FIRST_WAIT:
                    log.warning("redis_away", error=str(error))
            self._sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        if wait > FIRST_WAIT:
            log.info("redis_back")

    def _sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until we are to stop: raises StopRequested."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stop.asked:
                raise StopRequested
            time.sleep(min(left, LOOK))

    def _pubsub_exception_handler(self, exc: Exception, pubsub: PubSub, pubsub_thread: PubSubWorkerThread) -> None:
        """Let the thread that hears RQ's commands wait for Redis: one that hangs would end it, with a traceback."""
        del pubsub, pubsub_thread
        if not isinstance(exc, RedisError):
            raise exc
        time.sleep(FIRST_WAIT)

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Tell Redis that we live; first wait for it."""
        if pipeline is None:
            self.await_redis()
        super().heartbeat(timeout, pipeline)

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Return the next job, or None when asked to stop, or at once with no `timeout` (a burst).

        Passes over what can be no job, at which RQ would end the worker.
        """
        look = None if timeout is None else LOOK
        while not self.stop.asked:
            try:
                found = super().dequeue_job_and_maintain_ttl(look, look or max_idle_time)
                if found or look is None:
                    return found
            except (ValueError, TypeError, ResponseError) as error:
                log.warning("job_refused", reason=f"{type(error).__name__}: {error}"[:200])
                time.sleep(REFUSED_PAUSE)
        return None

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Do a job. What came of it is in the ledger: a Redis that is away when it ends is no failure of it."""
        job.timeout = self.seconds[queue.name]
        try:
            super().execute_job(job, queue)
        except RedisError as error:
            log.info("job_not_marked_done", job=job.id, error=str(error))


def _tells_no_outage(record: logging.LogRecord) -> bool:
    """Keep out what RQ says of a Redis that is away, at each try and as it stops: it is said once, by us."""
    away = record.exc_info is not None and isinstance(record.exc_info[1], ConnectionLost | RedisTimeout)
    return not away and "could not connect to Redis" not in str(record.msg)
