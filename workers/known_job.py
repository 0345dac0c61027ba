"""The jobs that a worker runs: those of `workers.jobs`, and no others.

RQ imports whatever path a job names, and calls its callbacks and webhooks: whoever can write to Redis could run any
code with the worker's keys. Here a job is one of our paths with ids, or it is refused before anything is imported.
"""

from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job

from workers.kernel.jobqueue import ADVANCE_CASE, PROCESS_EVENT
from workers.kernel.logs import get_logger

log = get_logger(__name__)

LONGEST_DATA: Final = 4096
"""Bytes of a job's compressed path and ids; zlib makes at most a thousand times as many of them."""
_READ: Final = frozenset(
    [
        *(b"data", b"origin", b"status", b"created_at", b"enqueued_at"),
        *(b"timeout", b"result_ttl", b"failure_ttl", b"number_of_retries"),
    ]
)
"""What is read of a job in Redis. Callbacks, webhooks, dependencies and repetitions are not: we never set them."""
_ARGUMENTS: Final[Mapping[str, tuple[list[type], ...]]] = {
    PROCESS_EVENT: ([str],),
    ADVANCE_CASE: ([str], [str, bool]),
}


class KnownJob(Job):
    """A job of ours as it stands in Redis; another one is as if it were not there, and said in one line."""

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Take over what Redis holds. Raises NoSuchJobError for what is no job of ours."""
        try:
            if len(raw_data[b"data"]) > LONGEST_DATA:
                raise ValueError("its data are too long")
            super().restore({name: raw_data[name] for name in _READ & raw_data.keys()})
            self._require_known()
        except RedisError:
            raise
        except Exception as error:
            log.warning("job_refused", job=self.id, reason=f"{type(error).__name__}: {error}"[:200])
            raise NoSuchJobError(f"{self.id} is no job of metermend") from error

    def _require_known(self) -> None:
        self._deserialize_data()  # type: ignore[no-untyped-call]
        path, arguments = self.func_name, self.args
        if self.instance is not None or self.kwargs or [type(one) for one in arguments] not in _expected(path):
            raise ValueError(f"{path!s:.80} with {len(arguments)} arguments is no job of metermend")


def _expected(path: Any) -> tuple[list[type], ...]:
    return _ARGUMENTS.get(path, ()) if isinstance(path, str) else ()
