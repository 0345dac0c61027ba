"""The jobs that a worker runs: those of `workers.jobs`, and no others.

RQ imports whatever path a job names, and calls its callbacks and webhooks: whoever can write to Redis could run any
code with the worker's keys. Here a job is one of our paths with ids, or it is refused before anything is imported.
"""

from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job

from workers.kernel.jobqueue import ADVANCE_CASE, PROCESS_EVENT, SETTLE_ACT
from workers.kernel.logs import get_logger

log = get_logger(__name__)

LONGEST: Final = 4096
"""Bytes of any field of a job; zlib makes at most a thousand times as many of them."""
LONGEST_ID: Final = 255
_READ: Final = (
    *("data", "origin", "status", "created_at", "enqueued_at"),
    *("result_ttl", "failure_ttl", "number_of_retries"),
)
"""What is read of a job in Redis. Callbacks, webhooks, dependencies and repetitions are not: we never set them.
Nor is the time that it may take, which the worker knows."""
_ARGUMENTS: Final[Mapping[str, tuple[list[type], ...]]] = {
    PROCESS_EVENT: ([str],),
    ADVANCE_CASE: ([str], [str, bool]),
    SETTLE_ACT: ([str],),
}


class KnownJob(Job):
    """A job of ours as it stands in Redis; another one is as if it were not there, and said in one line."""

    def refresh(self) -> None:
        """Read the job from Redis. Raises NoSuchJobError for what is none of ours, or is not there."""
        with self.connection.pipeline() as pipeline:
            for name in _READ:
                pipeline.hstrlen(self.key, name)
            if max(pipeline.execute()) > LONGEST:
                raise self._refused("a field of it is too long")
        values = zip(_READ, self.connection.hmget(self.key, _READ), strict=True)
        self.restore({name.encode(): value for name, value in values if isinstance(value, bytes)})

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Take over what Redis held. Raises NoSuchJobError for what is no job of ours."""
        if b"data" not in raw_data:
            raise NoSuchJobError(f"{self.id} is not there")
        try:
            super().restore(raw_data)
            self._deserialize_data()  # type: ignore[no-untyped-call]
        except RedisError:
            raise
        except Exception as error:
            raise self._refused(f"{type(error).__name__}: {error}") from error
        if self.instance is not None or self.kwargs or not _is_known(self.func_name, self.args):
            raise self._refused(f"{self.func_name!s:.80} with these arguments is no job of metermend")

    def _refused(self, reason: str) -> NoSuchJobError:
        log.warning("job_refused", job=self.id, reason=reason[:200])
        return NoSuchJobError(f"{self.id} is no job of metermend")


def _is_known(path: Any, arguments: Any) -> bool:
    expected = _ARGUMENTS.get(path, ()) if isinstance(path, str) else ()
    is_list = isinstance(arguments, list) and [type(one) for one in arguments] in expected
    return is_list and all(len(one) <= LONGEST_ID for one in arguments if isinstance(one, str))
