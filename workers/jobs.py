"""What RQ runs. Each job takes an id; the ledger knows the rest, so a job that is lost or doubled does no harm.

A job that has to wait returns RQ's `Retry` with its backoff; the ledger holds the same time, and the sweeper takes
up whatever Redis forgot.
"""

from collections.abc import Callable
from typing import Final

from rq.job import Retry
from structlog.contextvars import bound_contextvars

from workers.bootstrap import context
from workers.kernel.errors import Conflict, LedgerUnavailable
from workers.kernel.logs import get_logger
from workers.pipeline.desk.desk import settle
from workers.pipeline.run import carry_on, process

log = get_logger(__name__)

_AWAY_SECONDS: Final = 15
_ROUNDS: Final = 8
"""How often RQ itself comes back to a job; what is still open then is the sweeper's."""


def process_event(event_id: str) -> Retry | None:
    """Work on one event until it has ended or has to wait."""
    return _run(lambda: process(context(), event_id), event_id=event_id)


def advance_case(case_id: str, large: bool = False) -> Retry | None:
    """Carry one case on until it rests or has to wait; a large plan is made only by a job of `large` work."""
    return _run(lambda: carry_on(context(), case_id, large=large), case_id=case_id)


def settle_act(act_id: str) -> Retry | None:
    """Show what an act would change, or carry it out once it is approved."""
    return _run(lambda: settle(context(), act_id), act_id=act_id)


def _run(work: Callable[[], float | None], **about: str) -> Retry | None:
    """Do a job's work, which returns the seconds until it is to be done again, and tell RQ so."""
    with bound_contextvars(**about):
        try:
            seconds = work()
        except Conflict as error:
            log.info("not_free", reason=str(error))
            return None
        except LedgerUnavailable as error:
            log.warning("ledger_unavailable", error=str(error))
            seconds = _AWAY_SECONDS
    # One second more than the ledger's own time, so that the row is due when the job runs.
    return None if seconds is None else Retry(max=_ROUNDS, interval=int(seconds) + 1)
