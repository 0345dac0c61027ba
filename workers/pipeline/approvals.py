"""What somebody has let go, by name, that a guard would stop: his word lasts an hour, and for one submission."""

from datetime import timedelta
from typing import Final

import polars as pl

from workers.kernel.clock import is_within
from workers.kernel.ledger.cases import CaseReading
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import RECORD, Standing, remaining

OVERWRITE: Final = "overwrite"
"""Says, in the detail of an approval, that its records may overwrite what their windows hold."""
BY_FILE: Final = "by_file"
"""Says, in the detail of an approval, that its records may go by file although the connector reads it later."""
SEND_AGAIN: Final = "send_again"
"""Says, in the detail of an approval, that its records may go whatever Stripe has counted."""

APPROVAL_HOLDS: Final = timedelta(hours=1)
"""How long somebody's word lasts: he has decided on what was there then."""


def approved(context: Context, held: CaseReading, *words: str, intended: Submission | None = None) -> pl.DataFrame:
    """Return the records of which the detail of a recent approval says one of these words.

    An approval is used up by the submission that carries the record, unless that is `intended`, which is about to
    be sent.
    """
    named = [pl.DataFrame(schema={RECORD: pl.Int64})]
    now = context.clock()
    for approval in held.journal:
        says_so = approval.kind == EntryKind.APPROVED and any(approval.detail.get(word) for word in words)
        if says_so and approval.ref is not None and is_within(approval.at, APPROVAL_HOLDS, now):
            later = held.journal[approval.number :]
            used = tuple(e.ref for e in later if _carries(e, intended) and e.ref is not None)
            named.append(remaining(context, Standing(approval.ref, used)).select(RECORD).collect())
    return pl.concat(named)


def _carries(entry: EntryRow, intended: Submission | None) -> bool:
    is_this = intended is not None and entry.submission_id == intended.id
    return entry.kind == EntryKind.INTENDED and not is_this
