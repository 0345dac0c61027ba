"""What RQ runs. Each job takes an id; the ledger knows the rest, so a job that is lost or doubled does no harm.

A job that has to wait returns RQ's `Retry` with its backoff; the ledger holds the same time, and the sweeper takes
up whatever Redis forgot.
"""

from rq.job import Retry
from structlog.contextvars import bound_contextvars

from workers.bootstrap import context
from workers.kernel.errors import Conflict, LedgerUnavailable
from workers.kernel.logs import get_logger
from workers.pipeline.run import carry_on, carry_on_part, process

log = get_logger(__name__)

_AWAY_SECONDS = 15
_ROUNDS = 8
"""How often RQ itself comes back to a job; what is still open then is the sweeper's."""


def process_event(event_id: str) -> Retry | None:
    """Work on one event until it has ended or has to wait."""
    with bound_contextvars(event_id=event_id):
        try:
            return _later(process(context(), event_id))
        except Conflict as error:
            log.info("event_not_free", reason=str(error))
            return None
        except LedgerUnavailable as error:
            log.warning("ledger_unavailable", error=str(error))
            return _later(_AWAY_SECONDS)


def advance_case(case_id: str) -> Retry | None:
    """Carry one case on until it rests or has to wait."""
    with bound_contextvars(case_id=case_id):
        try:
            return _later(carry_on(context(), case_id))
        except LedgerUnavailable as error:
            log.warning("ledger_unavailable", error=str(error))
            return _later(_AWAY_SECONDS)


def plan_part(case_id: str, version: int, number: int) -> Retry | None:
    """Decide one part of a large case's plan."""
    with bound_contextvars(case_id=case_id, part=number):
        try:
            return _later(carry_on_part(context(), case_id, version, number))
        except LedgerUnavailable as error:
            log.warning("ledger_unavailable", error=str(error))
            return _later(_AWAY_SECONDS)


def _later(seconds: float | None) -> Retry | None:
    """One second more than the ledger's own time, so that the row is due when the job runs."""
    return None if seconds is None else Retry(max=_ROUNDS, interval=int(seconds) + 1)
