"""Troubles: things that broke, to be told by the clock."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from workers.alerts import NextStep, Trouble
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger.troubles import StoredTrouble
from workers.kernel.logs import get_logger
from workers.pipeline.context import Context

log = get_logger(__name__)


def trouble(context: Context, subject: str, headline: str, detail: str, step: NextStep | None = None) -> None:
    """Have a person told of something that keeps metermend from working; the log says it in any case."""
    log.error("trouble", subject=subject, headline=headline, detail=detail)
    try:
        told = asdict(Trouble(subject, headline, detail, next_step=step))
        context.ledger.troubles.note(subject, f"{headline}\n{detail}", told)
    except LedgerUnavailable as error:
        log.error("alert_failed", subject=subject, error=str(error))


def trouble_of(stored: StoredTrouble) -> Trouble:
    """Return a trouble that is to be told, with how many are alike."""
    step: Mapping[str, Any] | None = stored.trouble["next_step"]
    told = {**stored.trouble, "next_step": NextStep(**step) if step else None, "alike": stored.untold - 1}
    return Trouble(**told)
