"""The clock process: periodic duties, a thread each, so that a slow one holds up no other.

- Every second: put jobs whose backoff is over back into their queues.
- Every `sweep_interval` seconds: sweep the ledger for what is due.
- Every `sweep_interval` seconds: ask Stripe what open usage costs and when it is invoiced, for a bounded time.
- Every `reconcile_interval` seconds: compare Stripe's lists of events with the ledger.
- Every `sweep_interval` seconds: list the sender's files and index those that are new, for a bounded time.
- Every `sweep_interval` seconds: take in failed-records files that people have dropped into a folder.
- Once a day: remove what retention keeps no longer.
- Once a day, as far as its calls last: compare Stripe's totals with the sender's own records.
- Every few seconds: give a sign of life.
- Every half minute: look whether the archive answers, how all parts are, and where rules.toml contradicts a person.
- Every five minutes: look whose time runs out while records still wait for a person, and who has a part.
- Every two seconds: tell people what is new, in Slack or here.

Several clocks may run; what they do twice is found done. A duty that is cut off goes on at its next turn.
"""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer

from workers.kernel.errors import MetermendError
from workers.kernel.jobqueue import EVENTS, FILES
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.logs import get_logger
from workers.kernel.redis_address import connect_redis
from workers.kernel.service_health import LOOK, clock_beat
from workers.known_job import KnownJob
from workers.pipeline.audit.audit_walk import audit_daily
from workers.pipeline.context import Context
from workers.pipeline.intake.given_folder import take_from_folder
from workers.pipeline.notify import deliver
from workers.pipeline.notify.remind import remind
from workers.pipeline.notify.remind_parts import remind_of_parts
from workers.pipeline.notify.watch import Watch
from workers.pipeline.upkeep.appraise import MOST_CASES, appraise
from workers.pipeline.upkeep.contradictions import note_contradictions
from workers.pipeline.upkeep.reconcile import reconcile, start_from_now
from workers.pipeline.upkeep.retention import retain
from workers.sources import UsageSources
from workers.sweeper import sweep

log = get_logger(__name__)

TICK = 1.0
AT_A_TIME = 1_000
"""Jobs that are put back into a queue at one turn."""
HOUR = 3_600.0
TELLING = 2.0
"""Seconds between two looks at what people are to be told."""
DAY = 86_400.0
REMINDING = 300.0
"""Seconds between two looks at which deadlines near."""
PREPARE_SECONDS = 20.0
"""How long one turn indexes the files of one account; a file that is begun is finished."""
LAST_SECONDS = 5.0
"""How long duties may take to come to an end once the clock is stopped; what they leave undone is found undone."""


@dataclass(frozen=True)
class Duty:
    """Periodic work: `every` seconds from the end of one turn to the next."""

    name: str
    every: float
    work: Callable[[], object]


def run(now: Callable[[], Context], stop: threading.Event) -> None:
    """Run the clock until `stop` is set; failures are logged and tried again at the next turn.

    `now` returns a context with the rules of now: each turn of a duty that repairs, or looks for what rules let
    go, works with a context of its own.
    """
    threads = [
        threading.Thread(target=_repeat, args=(duty, stop), name=duty.name, daemon=True)
        for duty in duties(now, stop)
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    ends = time.monotonic() + LAST_SECONDS
    for thread in threads:
        thread.join(max(ends - time.monotonic(), 0))


def duties(now: Callable[[], Context], stop: threading.Event) -> tuple[Duty, ...]:
    """Return all that the clock does; `now` is as in `run`."""
    context = now()
    settings = context.settings
    redis = connect_redis(settings.redis_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5)
    every_look = LOOK.total_seconds()
    return (
        Duty("beat", clock_beat(settings).total_seconds(), lambda: context.ledger.heartbeats.beat(Sign.CLOCK)),
        Duty("archive", every_look, lambda: _look_at_archive(context)),
        Duty("watch", every_look, Watch(context).look),
        Duty("rules", every_look, lambda: note_contradictions(now())),
        Duty("enqueue_retries", TICK, lambda: enqueue_retries(redis)),
        Duty("sweep", settings.sweep_interval, lambda: _sweep(now, stop)),
        Duty("appraise", settings.sweep_interval, lambda: _appraise(context, stop)),
        Duty("reconcile", settings.reconcile_interval, lambda: _reconcile(context)),
        Duty("retain", DAY, lambda: _retain(context)),
        *(
            Duty(f"prepare {account or 'sources'}", settings.sweep_interval, partial(_prepare, sources))
            for account, sources in ((None, context.sources), *context.account_sources.items())
        ),
        *(
            Duty(
                f"given {account or 'files'}",
                settings.sweep_interval,
                partial(take_from_folder, context, account, folder),
            )
            for account, folder in context.given_folders
        ),
        Duty("audit", HOUR, lambda: _audit(now())),
        Duty("remind", REMINDING, lambda: remind(context)),
        Duty("remind_of_parts", REMINDING, lambda: remind_of_parts(context)),
        Duty("tell", TELLING, lambda: deliver(context)),
    )


def run_until_signalled(now: Callable[[], Context]) -> None:
    """Run the clock as a process of its own, until SIGTERM or SIGINT."""
    stop = threading.Event()

    def _stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    run(now, stop)


def enqueue_retries(redis: "Redis") -> None:
    """Put jobs whose backoff is over back into their queues. Raises RedisError."""
    for name in (EVENTS, FILES):
        queue = Queue(name, connection=redis, job_class=KnownJob, serializer=JSONSerializer)
        waiting = queue.scheduled_job_registry.key
        due: Any = redis.zrangebyscore(waiting, 0, time.time(), start=0, num=AT_A_TIME)
        for job_id in due:
            if redis.zrem(waiting, job_id):  # else another clock has it
                with suppress(NoSuchJobError, ValueError, ResponseError):  # what is no job of ours is forgotten
                    queue.enqueue_job(KnownJob.fetch(job_id.decode(), connection=redis, serializer=JSONSerializer))


def _sweep(now: Callable[[], Context], stop: threading.Event) -> None:
    """Sweep again at once while there is more, so that a backlog drains as fast as the workers are."""
    while sweep(now()) and not stop.wait(TICK):
        pass


def _appraise(context: Context, stop: threading.Event) -> None:
    """Appraise turn by turn while more cases are due than one turn takes."""
    while appraised := appraise(context):
        log.info("appraised", cases=appraised)
        if appraised < MOST_CASES or stop.wait(TICK):
            return


def _reconcile(context: Context) -> None:
    start_from_now(context)
    for look in reconcile(context):
        level = log.warning if look.trouble else log.info
        level("reconciled", account=look.account, kind=look.kind, recorded=look.recorded, trouble=look.trouble)


def _look_at_archive(context: Context) -> None:
    context.archive.ping()
    context.ledger.heartbeats.beat(Sign.ARCHIVE)


def _prepare(sources: UsageSources) -> None:
    left = sources.prepare(PREPARE_SECONDS)
    if left:
        log.info("usage_files_left", files=left)


def _retain(context: Context) -> None:
    removed = retain(context)
    log.info("retained", bodies_removed=removed.bodies, cases_removed=removed.cases)


def _audit(context: Context) -> None:
    compared, differ = audit_daily(context)
    if compared:
        log.info("audited", days_compared=compared, days_that_differ=differ)


def _repeat(duty: Duty, stop: threading.Event) -> None:
    told = ""
    while not stop.is_set():
        trouble = ""
        try:
            duty.work()
        except (MetermendError, RedisError) as error:
            trouble = str(error)
        except Exception:
            log.exception("duty_failed", duty=duty.name)
        if trouble and trouble != told:  # an outage of an hour is one line, not one a second
            log.warning("duty_failed", duty=duty.name, error=trouble)
        told = trouble
        stop.wait(duty.every)
