"""The service's word about itself: what broke is told once, and once more when it is over. The clock looks.

A part must be found broken, or well, at two looks in a row: what is restarted meanwhile is no news. That the clock
itself is dead is seen by the web (/readyz) and by Prometheus (docs/alerts.yml).
"""

from collections.abc import Mapping
from typing import Any, Final

from workers.alerts import NextStep
from workers.kernel.clock import to_text
from workers.kernel.logs import get_logger
from workers.kernel.service_health import Fault, faults
from workers.pipeline.context import Context
from workers.pipeline.notify.troubles import trouble

log = get_logger(__name__)

TOLD: Final = "service_faults_told"
"""Checkpoint: component -> {headline, since} of what was told and is not over."""
_NOT_SEEN_FROM_HERE: Final = "clock"
_TOLD_WHEN_OVER: Final = "slack"
"""A Slack that takes nothing cannot be told of there; the log and /readyz say it meanwhile."""


class Watch:
    """Remembers what was broken at the look before."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._before: Mapping[str, Fault] = {}

    def look(self) -> None:
        """Have people told of what broke and of what works again. Raises LedgerUnavailable."""
        context = self._context
        judged = faults(context.ledger, context.settings, context.clock())
        found = {part: fault for part, fault in judged.items() if fault and part != _NOT_SEEN_FROM_HERE}
        told: dict[str, Any] = context.ledger.checkpoints.get(TOLD) or {}
        new = {part: found[part] for part in found if part in self._before and part not in told}
        over = {part: told[part] for part in told if part not in found and part not in self._before}
        for part, fault in new.items():
            self._tell(part, fault)
        for part, ended in over.items():
            self._tell_over(part, ended)
        if new or over:
            since = to_text(context.clock())
            begun = {part: {"headline": fault.headline, "since": since} for part, fault in new.items()}
            still = {part: one for part, one in told.items() if part not in over}
            context.ledger.checkpoints.save(TOLD, still | begun)
        self._before = found

    def _tell(self, part: str, fault: Fault) -> None:
        if part == _TOLD_WHEN_OVER:
            log.error("service_fault", part=part, headline=fault.headline, detail=fault.detail)
        else:
            trouble(self._context, part, fault.headline, fault.detail, NextStep(fault.mend, fault.command))

    def _tell_over(self, part: str, ended: Mapping[str, str]) -> None:
        until = to_text(self._context.clock())
        trouble(self._context, part, f"Over: {ended['headline']}", f"From {ended['since']} to {until}.")
