"""Protocols that look right and are not, to show that the machine tells them apart from ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from tests.unit.protocol.world import World
from workers.kernel.ledger.submissions import Submission
from workers.pipeline import advance
from workers.pipeline.context import Context
from workers.pipeline.intake import verdicts
from workers.pipeline.intake.our_file import OurFile, our_file
from workers.pipeline.submit import guards
from workers.pipeline.upkeep.retry import retry_case
from workers.targets import Chunk, Outgoing, Progress, Rows, Sent, Target, Withheld
from workers.targets.meter_events import MeterEventsTarget


class IntentAfterSend(World):
    """What was sent is written down once the answer is there, so that a crash before that sends it as if new.

    Its plans never grow too old: their age would stop what the missing intent lets through.
    """

    def _do_all_jobs(self) -> None:
        with patch.object(guards, "PLANS_HOLD", timedelta(days=365)):
            super()._do_all_jobs()

    def api_target(self) -> Target:
        return _LateIntent(self.stripe, self.clock)


class ForgetsDeferred(World):
    """A record that has to wait is never looked at again."""

    def _do_all_jobs(self) -> None:
        with patch.object(advance, "some_deferred_is_due", lambda *_: False):
            super()._do_all_jobs()


class ResubmitsAfterUndo(World):
    """What an operator has taken back is planned anew, as if it had been refused."""

    def _undo(self, case_id: str) -> None:
        super()._undo(case_id)
        retry_case(self.context, case_id)


class IgnoresVerdicts(World):
    """Once a file is written its rows count as arrived, whatever Stripe says of them."""

    def _do_all_jobs(self) -> None:
        with patch.object(verdicts, "refuse", lambda *_, **__: iter(())):
            super()._do_all_jobs()


class ForgetsMates(World):
    """Of a file that many share, Stripe's verdict reaches the case that gave it its name, and no other."""

    def _do_all_jobs(self) -> None:
        with patch.object(verdicts, "our_file", _of_the_first_alone):
            super()._do_all_jobs()


def _of_the_first_alone(context: Context, names: tuple[str, ...], submission: Submission) -> OurFile:
    file = our_file(context, names, submission)
    return OurFile([part for part in file.parts if part.submission.id == submission.id])


class _LateIntent(MeterEventsTarget):
    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        return super().send(outgoing, _IntendedWhenFinished(progress))


@dataclass
class _IntendedWhenFinished:
    progress: Progress

    def chunks(self) -> Mapping[int, Chunk]:
        return {number: chunk for number, chunk in self.progress.chunks().items() if chunk.result is not None}

    def may_not_go(self, rows: Rows) -> tuple[Withheld, ...]:
        return self.progress.may_not_go(rows)

    def intend(self, number: int, rows: Rows, withheld: tuple[Withheld, ...]) -> None:
        pass

    def finish(self, number: int, result: Any) -> None:
        if number not in self.progress.chunks():
            self.progress.intend(number, Rows(0, 0), ())
        self.progress.finish(number, result)
