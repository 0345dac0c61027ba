"""The last look at what is about to be sent: what time can have changed since the intent.

Its plan may be a day old, and a window may hold another value by now. The other guards' word does not change:
whoever came later has seen the submission.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from workers.kernel.clock import is_within
from workers.kernel.ledger.cases import CaseReading
from workers.kernel.ledger.submissions import Submission
from workers.kernel.places import DASHBOARD
from workers.kernel.reasons import SENT_BEFORE
from workers.pipeline.approvals import APPROVAL_HOLDS
from workers.pipeline.context import Context
from workers.pipeline.hold import STOPPED_SCHEMA, first_stopped
from workers.pipeline.record_sets import RECORD, scan
from workers.pipeline.submit.guards import planned_long_ago
from workers.pipeline.submit.meter_windows import Windows, windows_of
from workers.pipeline.submit.part_guards import perhaps_uploaded
from workers.pipeline.submit.submitted_index import recent_submissions
from workers.pipeline.submit.window_guards import would_overwrite
from workers.records.schema import IDENTIFIER, REASON, SUGGESTION
from workers.targets import Rows, Withheld

_WHY: Final = "@why"
_ADVICE: Final = "@advice"
_BEFORE: Final = "@before"


@dataclass(frozen=True)
class LastLook:
    """What of a submission must not go any more, asked directly before each of its chunks.

    `windows` are those of the account's meters; Stripe is asked for them where they are not given.
    """

    context: Context
    case: CaseReading
    submission: Submission
    windows: Windows | None = None

    def __call__(self, rows: Rows) -> tuple[Withheld, ...]:
        """Return what must not go of these rows of the submission's record set."""
        chosen = scan(self.context, self.submission.ref).slice(rows.first, rows.records)
        old = planned_long_ago(self.context, self.case, chosen.select(RECORD).collect())
        stopped = first_stopped(old, self._overwriting(chosen), self._uploaded(chosen))
        if stopped.is_empty():
            return ()
        words = stopped.lazy().rename({REASON: _WHY, SUGGESTION: _ADVICE})
        told = chosen.select(RECORD, IDENTIFIER, was_sent_before().alias(_BEFORE)).join(words, on=RECORD)
        return tuple(
            Withheld(row[IDENTIFIER], row[_WHY], row[_ADVICE], tried_before=row[_BEFORE])
            for row in told.collect().iter_rows(named=True)
        )

    def _overwriting(self, chosen: pl.LazyFrame) -> pl.DataFrame:
        """Ask whether windows are free, but for what somebody has lately approved knowing why it waited."""
        if self._windows.meters.keys().isdisjoint(self.submission.event_names):
            return pl.DataFrame(schema=STOPPED_SCHEMA)
        fresh = is_within(self.submission.intended_at, APPROVAL_HOLDS, self.context.clock())
        asked = chosen.filter(~was_sent_before()) if fresh else chosen
        sent = recent_submissions(self.context, self.case.case.failure.account)
        return would_overwrite(self.context, self.case, self._windows, asked, sent, self.submission)

    def _uploaded(self, chosen: pl.LazyFrame) -> pl.DataFrame:
        """Ask of what a person is to upload whether it may have been there: nothing else shows that."""
        if self.submission.target != DASHBOARD:
            return pl.DataFrame(schema=STOPPED_SCHEMA)
        return perhaps_uploaded(self.context, self.case, self.submission, self._windows, chosen)

    @cached_property
    def _windows(self) -> Windows:
        account = self.case.case.failure.account
        return windows_of(self.context, account) if self.windows is None else self.windows


def was_sent_before() -> pl.Expr:
    """Tell of records whether somebody has approved them by name, knowing why they waited."""
    return pl.col(REASON).fill_null("").is_in(SENT_BEFORE)
