"""Troubles: things that broke, to be told by the clock."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from workers.alerts import NextStep, Trouble
from workers.kernel.errors import LedgerUnavailable
from workers.kernel.ledger.troubles import StoredTrouble
from workers.kernel.logs import get_logger
from workers.kernel.releases import known_fields
from workers.pipeline.context import Context
from workers.pipeline.notify.incident_about import about_case
from workers.pipeline.notify.pages import page_of

log = get_logger(__name__)


def trouble(context: Context, subject: str, headline: str, detail: str, step: NextStep | None = None) -> None:
    """Have a person told of something that keeps metermend from working; the log says it in any case."""
    log.error("trouble", subject=subject, headline=headline, detail=detail)
    try:
        told = asdict(Trouble(subject, headline, detail, next_step=step))
        context.ledger.troubles.note(subject, f"{headline}\n{detail}", told)
    except LedgerUnavailable as error:
        log.error("alert_failed", subject=subject, error=str(error))


def trouble_of(context: Context, stored: StoredTrouble) -> Trouble:
    """Return a trouble that is to be told: what case it is about, where to look, and how many are alike."""
    step: Mapping[str, Any] | None = stored.trouble["next_step"]
    next_step = NextStep(**known_fields(NextStep, step)) if step else None
    known = known_fields(Trouble, stored.trouble)
    told = Trouble(**{**known, "next_step": next_step, "alike": stored.untold - 1})
    if told.next_step:
        told = replace(told, next_step=replace(told.next_step, link=page_of(context, told.subject)))
    case = context.ledger.cases.get(told.subject)
    if case is None:
        return told
    failure = case.failure
    return replace(told, about=about_case(context, case), livemode=failure.livemode, account=failure.account)
