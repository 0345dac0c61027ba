"""Variants of the product that break its protocol: the harness must catch each of them.

- `intent_after_send`: a chunk's intent is written down once its answer is known, not before the first call.
- `new_identifier_on_timeout`: a call that went unanswered is made again under a fresh identifier.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from workers.kernel.errors import Transient
from workers.pipeline.submitting import LedgerProgress
from workers.records.schema import IDENTIFIER
from workers.stripe_api import calls
from workers.targets.meter_events import MeterEventsTarget


def intent_after_send() -> None:
    """Let a crash in the middle of a chunk leave no trace of what was sent."""
    intend, finish = LedgerProgress.intend, LedgerProgress.finish

    def finish_with_intent(progress: LedgerProgress, number: int, result: Any) -> None:
        intend(progress, number)
        finish(progress, number, result)

    _replace(LedgerProgress, "intend", lambda _progress, _number: None)
    _replace(LedgerProgress, "finish", finish_with_intent)


def new_identifier_on_timeout() -> None:
    """Let a lost answer be taken for a lost call."""
    send = MeterEventsTarget._send_record  # noqa: SLF001

    def send_until_answered(target: MeterEventsTarget, record: dict[str, Any], *rest: Any, **options: Any) -> None:
        for attempt in range(5):
            try:
                fresh = {IDENTIFIER: f"{record[IDENTIFIER]}~r{uuid.uuid4().int % 9000 + 2}"} if attempt else {}
                return send(target, {**record, **fresh}, *rest, **options)
            except Transient:
                continue
        return None

    _replace(calls, "ATTEMPTS", 1)
    _replace(MeterEventsTarget, "_send_record", send_until_answered)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


VARIANTS: Final[Mapping[str, Callable[[], None]]] = {
    "intent_after_send": intent_after_send,
    "new_identifier_on_timeout": new_identifier_on_timeout,
}
