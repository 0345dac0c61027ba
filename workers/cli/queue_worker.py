"""RQ's worker, made to outlast Redis: RQ's own gives up where Redis goes away at the end of a job, or freezes.

Redis holds hints only, so what a worker could not write there the sweeper finds in the ledger.
"""

import logging
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from workers.kernel.errors import SettingsUnusable
from workers.kernel.jobqueue import shown_address
from workers.kernel.logs import get_logger

log = get_logger(__name__)

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
"""Seconds between two looks for a Redis that is away; each wait is twice the one before."""


def reachable(url: str) -> Redis:
    """Return a client of the Redis at `url`. Raises SettingsUnusable where none answers."""
    try:
        redis = Redis.from_url(url)
        redis.ping()
    except ValueError as error:
        raise SettingsUnusable(str(error), where="REDIS_URL", mend="redis://host:6379/0") from None
    except RedisError as error:
        raise SettingsUnusable(
            f"no Redis at {shown_address(url)}: {error}",
            where="REDIS_URL",
            mend="start it, or let `metermend serve` start one",
        ) from None
    return redis


def work(redis: Redis, names: Sequence[str], *, burst: bool) -> None:
    """Work on the queues until stopped, or with `burst` until they are empty, through any outage of Redis."""
    logging.getLogger("rq.worker").addFilter(_is_no_retry)
    queues = [Queue(name, connection=redis, serializer=JSONSerializer) for name in names]
    stopped = False
    while not stopped:
        try:
            _await(redis)
            worker = PatientWorker(queues, connection=redis, serializer=JSONSerializer)
            worker.work(burst=burst, logging_level="WARNING")
            stopped = burst or worker.stopped
        except StopRequested:
            stopped = True
        except RedisError as error:
            log.warning("redis_away", error=str(error))


def _await(redis: Redis) -> None:
    """Wait until Redis answers, saying so once."""
    wait, told = FIRST_WAIT, False
    while True:
        try:
            redis.ping()
        except RedisError as error:
            if not told:
                log.warning("redis_away", error=str(error), retried="until it answers")
            told = True
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        else:
            if told:
                log.info("redis_back")
            return


class PatientWorker(SimpleWorker):
    """Waits for Redis wherever RQ would give up. A job's result is in the ledger, not in Redis."""

    stopped = False
    """Whether it was asked to."""

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Tell Redis that we live; first wait for it."""
        if pipeline is None:
            _await(self.connection)
        super().heartbeat(timeout, pipeline)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Do a job; a Redis that is away when it ends is no failure of it."""
        try:
            super().execute_job(job, queue)
        except RedisError as error:
            log.info("job_not_marked_done", job=job.id, error=str(error))

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop after the job in hand."""
        self.stopped = True
        try:
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]
        except RedisError as error:
            log.warning("redis_away", error=str(error))


def _is_no_retry(record: logging.LogRecord) -> bool:
    """Keep out what RQ says at each try to reach Redis: it is said once, by us."""
    return "could not connect to Redis" not in str(record.msg)
