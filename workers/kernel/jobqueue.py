"""The job queue: hints that work is due. The ledger is the truth, so a hint may be lost or given twice.

What crosses Redis is the path of a job of `workers.jobs` and an id.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import Final, Protocol
from zlib import compress

from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.serializers import JSONSerializer

from workers.kernel.clock import utc_now
from workers.kernel.errors import Transient
from workers.kernel.redis_address import connect_redis

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
"""A client with the library's defaults blocks the web for 4 s a call while Redis is away."""

LEFT_ALONE_SECONDS = 5.0
"""A Redis that hangs is not waited for again for so long: each post would wait, and Stripe with it."""

CROWDED = 100
"""Hints that wait in a queue when new events are left to the sweeper, which gives every account its turn. What
others have added since a web last hinted is not looked for while its own count leaves room."""

FAILED_JOB_SECONDS = 86_400
"""How long RQ keeps a failed job for looking at; its own default is a year."""

EVENTS: Final = "events"
"""Queue of events and cases whose work is small."""
FILES: Final = "files"
"""Queue of large files and of large cases, so that they never stand before small ones."""
LARGE_TIMES: Final = 6
"""How much longer a job of large work may run: it plans a whole case, and asks Stripe for each of its customers."""

PROCESS_EVENT: Final = "workers.jobs.process_event"
ADVANCE_CASE: Final = "workers.jobs.advance_case"
SETTLE_ACT: Final = "workers.jobs.settle_act"


class JobQueue(Protocol):
    """Where the web and the sweeper say that an event or a case is due. Raises Transient when it is away.

    What is `large` has a queue of its own, so that it never stands before what is small.
    """

    def enqueue_event(self, event_id: str, attempt: int, *, large: bool = False) -> None:
        """Say that an event waits; the same (id, attempt) stands in the queue once."""

    def enqueue_new(self, event_ids: Sequence[str], *, large: bool = False) -> None:
        """Say that events wait for their first attempt, all at once: they are new, so none of them stands there.

        Those too many are left out; the sweeper hints at them in their turn. So one account's flood neither fills
        Redis nor stands before another account's event.
        """

    def waiting(self, *, large: bool = False) -> int:
        """Return how many hints wait in the queue."""

    def enqueue_case(self, case_id: str, version: int, *, large: bool = False) -> None:
        """Say that a case waits; as a `large` one it is planned there."""

    def enqueue_act(self, act_id: str, approvals: int) -> None:
        """Say that an act waits to be looked at, or to be carried out."""

    def ping(self) -> None:
        """Raise Transient unless the queue answers."""


class RqJobQueue:
    """RQ on Redis, with jobs named by path: the process that enqueues imports none of them.

    Raises SettingsUnusable when `redis_url` is no address.
    """

    def __init__(self, redis_url: str, *, job_timeout: int) -> None:
        self._connection = connect_redis(
            redis_url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._left_alone_until = 0.0
        self._left_waiting = {False: 0, True: 0}  # when new events were last hinted at
        self._events, self._files = (
            Queue(name, connection=self._connection, serializer=JSONSerializer, default_timeout=seconds)
            for name, seconds in ((EVENTS, job_timeout), (FILES, job_timeout * LARGE_TIMES))
        )

    def enqueue_event(self, event_id: str, attempt: int, *, large: bool = False) -> None:
        self._enqueue(self._files if large else self._events, PROCESS_EVENT, job_id(event_id, attempt), event_id)

    def enqueue_new(self, event_ids: Sequence[str], *, large: bool = False) -> None:
        queue = self._files if large else self._events
        room = CROWDED - self._left_waiting[large]
        if room < len(event_ids) and (room := CROWDED - self.waiting(large=large)) <= 0:
            return
        with self._answering(), self._connection.pipeline() as pipeline:
            pipeline.sadd(queue.redis_queues_keys, queue.key)
            job = queue.create_job(
                PROCESS_EVENT, description=PROCESS_EVENT, result_ttl=0, failure_ttl=FAILED_JOB_SECONDS
            )
            job.enqueued_at = utc_now()
            # RQ's own way to enqueue many takes five times as long: it writes out each job, with what is empty.
            fields = {name: value for name, value in job.to_dict().items() if value != ""}
            hinted = {job_id(event_id, 0): event_id for event_id in event_ids[:room]}
            for job.id, event_id in hinted.items():
                job.args = (event_id,)
                pipeline.hset(job.key, mapping=fields | {"data": compress(job.data)})
            pipeline.rpush(queue.key, *hinted)
            *_, self._left_waiting[large] = pipeline.execute()

    def waiting(self, *, large: bool = False) -> int:
        with self._answering():
            return (self._files if large else self._events).count

    def enqueue_case(self, case_id: str, version: int, *, large: bool = False) -> None:
        if large:
            # An id of its own: the job that leaves the case to this one is still running under the other.
            self._enqueue(self._files, ADVANCE_CASE, job_id(f"{case_id}-large", version), case_id, True)
        else:
            self._enqueue(self._events, ADVANCE_CASE, job_id(case_id, version), case_id)

    def enqueue_act(self, act_id: str, approvals: int) -> None:
        self._enqueue(self._events, SETTLE_ACT, job_id(act_id, approvals), act_id)

    def ping(self) -> None:
        with self._answering():
            self._connection.ping()

    def version(self) -> str:
        """Return what the server says of its version. Raises Transient."""
        with self._answering():
            said = self._connection.info("server")
        return str(said.get("valkey_version") or said["redis_version"])

    def _enqueue(self, queue: Queue, path: str, name: str, *arguments: str | bool) -> None:
        """Enqueue a job unless one of that id stands in the queue already."""
        push = partial(queue.enqueue, path, *arguments, job_id=name, result_ttl=0, failure_ttl=FAILED_JOB_SECONDS)
        with self._answering():
            try:
                push(unique=True)
            except DuplicateJobError:
                # RQ knows the id for as long as the job's hash lives, also of a job that failed or whose worker
                # died on taking it. Only an id that still stands in the list will run without our help.
                if self._connection.lpos(queue.key, name) is None:
                    push(unique=False)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Raise Transient where Redis does not answer, and at once for a while after it was waited for in vain."""
        if time.monotonic() < self._left_alone_until:
            raise Transient("the job queue did not answer a moment ago")
        try:
            yield
        except RedisError as error:
            if isinstance(error, RedisTimeout):
                self._left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
            raise Transient(f"the job queue does not answer: {type(error).__name__}") from error


def job_id(subject: str, attempt: int) -> str:
    """Return the RQ job id of one attempt at an event or case; RQ takes letters, digits, `_` and `-` only."""
    plain = subject.replace("_", "").replace("-", "")
    safe = subject if plain.isalnum() and subject.isascii() else sha256(subject.encode()).hexdigest()[:16]
    return f"{safe}-{attempt}"
