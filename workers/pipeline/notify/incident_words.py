"""Whether there is something new to say of an incident."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Self

from workers.alerts import Notice
from workers.kernel.ledger.incidents import Incident
from workers.kernel.releases import known_fields
from workers.pipeline.context import Context
from workers.pipeline.notify.case_status import CaseStatus
from workers.pipeline.notify.incident_notice import in_full, notice_of

GROWTH: Final = 10
"""How many times as many records as were told make an incident worth telling again."""


@dataclass(frozen=True)
class Said:
    """What a person was told last of an incident. `message` names the message, where that can be changed.

    `demands` are what he had to do, as in CaseStatus.
    """

    records: int
    demands: frozenset[str]
    settled: bool
    message: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "demands": sorted(self.demands)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**known_fields(cls, data), "demands": frozenset(data["demands"])})


class Look:
    """An incident, looked at for what is new."""

    def __init__(self, context: Context, incident: Incident) -> None:
        self._context = context
        self._incident = incident
        self._statuses = list(map(CaseStatus.from_json, context.ledger.incidents.statuses(incident.id)))
        self._before = Said.from_json(incident.said) if incident.said else None
        self._quiet_at = incident.last_at + timedelta(seconds=context.settings.incident_gap)
        stands = self._statuses
        self._now = Said(
            records=sum(status.balance.failed.records for status in stands),
            demands=frozenset[str]().union(*(status.demands for status in stands)),
            settled=all(status.settled for status in stands),
        )
        self._over = self._now.settled and context.clock() >= self._quiet_at

    @property
    def earlier(self) -> str | None:
        """The name of the message that may be changed."""
        return self._before.message if self._before else None

    @property
    def has_news(self) -> bool:
        """Whether it opens, is ten times as large, asks for something else, or is over.

        That it is over is no news where nothing was left to do, or to happen, when it was told last.
        """
        now, before = self._now, self._before
        if before is None:
            return any(status.worth_telling for status in self._statuses)
        if self._over:
            return not before.settled or now.records != before.records
        return bool(now.demands - before.demands) or now.records >= GROWTH * before.records

    def notice(self) -> Notice:
        """Return what is to be said, in short."""
        return notice_of(self._context, self._incident, self._statuses, over=self._over)

    def notice_in_full(self) -> Notice:
        """Return it with what has to be looked up: for what is said now, not for all that waits in a storm."""
        return in_full(self._context, self._incident, self.notice())

    def was_said(self, message: str | None) -> None:
        """Write down that a person was told."""
        self._write(Said(self._now.records, self._now.demands, self._now.settled, message))

    def had_no_news(self) -> None:
        """Write down that it was looked at. What is asked for no more is forgotten, to be told if it is again."""
        before = self._before
        kept = before and Said(before.records, before.demands & self._now.demands, before.settled, before.message)
        self._write(kept)

    def _write(self, said: Said | None) -> None:
        due_at = self._quiet_at if self._now.settled and not self._over else None
        told = said.to_json() if said else None
        self._context.ledger.incidents.looked_at(self._incident, told, due_at=due_at, over=self._over)
