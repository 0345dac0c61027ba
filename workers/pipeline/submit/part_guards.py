"""What keeps a part for the Dashboard from being uploaded a second time.

Neither the name of a file nor an identifier need stop Stripe from billing one again that a person uploads. So what
else tells that it has been there is asked for: Stripe's verdict on an earlier part, and its totals where the ledger
may have lost that a part was handed out.
"""

from typing import Final

import polars as pl

from workers.kernel.ledger.cases import CaseReading
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.submissions import Submission
from workers.kernel.places import DASHBOARD
from workers.kernel.reasons import ARRIVAL_UNKNOWN
from workers.pipeline.context import Context
from workers.pipeline.hold import STOPPED_SCHEMA, first_stopped, stop
from workers.pipeline.record_sets import RECORD, records_in, scan
from workers.pipeline.restores import last_restore
from workers.pipeline.submit.lost_ledger import perhaps_sent
from workers.pipeline.submit.meter_windows import Windows
from workers.reports.import_set import ImportStatus
from workers.targets.dashboard import NOTHING_UPLOADED
from workers.targets.files import KEY

_IMPORTED: Final = (
    "It stood in {}, of which {} said that nothing was taken in, and Stripe tells of an import of it: look in "
    "Stripe's summaries whether it is billed already."
)
_JUDGED: Final = "What Stripe says of its submission has reached it before it was handed out."


def imported_all_the_same(context: Context, case: CaseReading, planned: pl.LazyFrame) -> pl.DataFrame:
    """Stop planned records of a part that Stripe has imported, whatever a person has said of it."""
    found = [pl.DataFrame(schema=STOPPED_SCHEMA)]
    for submission in case.submissions:
        if submission.target != DASHBOARD or submission.verdict in {None, ImportStatus.FAILED}:
            continue
        for chunk in context.ledger.chunks.of(submission.id).values():
            if chunk.verdict is not None and chunk.result and chunk.result.get(NOTHING_UPLOADED):
                rows = scan(context, submission.ref).slice(chunk.first or 0, chunk.records).select(RECORD)
                again = planned.select(RECORD).join(rows, on=RECORD, how="semi").collect()
                words = _IMPORTED.format(chunk.result[KEY], chunk.result["by"])
                found.append(stop(again, ARRIVAL_UNKNOWN, words))
    return first_stopped(*found)


def perhaps_uploaded(
    context: Context, case: CaseReading, submission: Submission, windows: Windows, chosen: pl.LazyFrame
) -> pl.DataFrame:
    """Stop what stands as submitted no more, and what a lost ledger may have handed out since its intent."""
    there = records_in(context, case.journal, Bucket.SUBMITTED, submission_id=submission.id)
    rows, restored = chosen.select(RECORD).collect(), last_restore(context)
    gone = rows if there is None else rows.join(there.select(RECORD).collect(), on=RECORD, how="anti")
    stopped = stop(gone, ARRIVAL_UNKNOWN, _JUDGED)
    if restored is None or submission.intended_at >= restored:
        return stopped
    return first_stopped(stopped, perhaps_sent(context, case, windows, chosen))
