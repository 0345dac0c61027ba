"""Variants of the product that break its protocol: the harness must catch each of them.

- `intent_after_send`: a chunk's intent is written down once its answer is known, not before the first call, and a
  plan is sent however old it is (else its age would stop what the missing intent lets through).
- `new_identifier_on_timeout`: a call that went unanswered is made again under a fresh identifier.
- `overlooked_row`: the last refused row of every report and file is not written into the journal.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from workers.kernel.errors import Transient
from workers.pipeline.context import Context
from workers.pipeline.intake import error_report, import_set, open_case
from workers.pipeline.submit import guards
from workers.pipeline.submit.send import LedgerProgress
from workers.records.schema import IDENTIFIER
from workers.stripe_api import call
from workers.targets import Rows
from workers.targets.meter_events import MeterEventsTarget


def intent_after_send() -> None:
    """Let a crash in the middle of a chunk leave no trace of what was sent."""
    intend, finish = LedgerProgress.intend, LedgerProgress.finish

    def finish_with_intent(progress: LedgerProgress, number: int, result: Any) -> None:
        intend(progress, number, Rows(0, 0), ())
        finish(progress, number, result)

    _replace(LedgerProgress, "intend", lambda *_: None)
    _replace(LedgerProgress, "finish", finish_with_intent)
    _replace(guards, "PLANS_HOLD", timedelta(days=365))


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

    _replace(call, "ATTEMPTS", 1)
    _replace(MeterEventsTarget, "_send_record", send_until_answered)


def overlooked_row() -> None:
    """Let a record fall between Stripe's refusal and the journal."""
    take_in_seen = open_case.take_in_seen

    def take_in_most(context: Context, shown: open_case.Seen) -> str:
        return take_in_seen(context, replace(shown, frames=[frame.head(-1) for frame in shown.frames]))

    for module in (import_set, error_report):
        _replace(module, "take_in_seen", take_in_most)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


VARIANTS: Final[Mapping[str, Callable[[], None]]] = {
    "intent_after_send": intent_after_send,
    "new_identifier_on_timeout": new_identifier_on_timeout,
    "overlooked_row": overlooked_row,
}
