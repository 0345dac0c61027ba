"""What a person asks for that changes nothing: records of a case as CSV, which a worker writes into the archive."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from workers.kernel.counting import counted
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import CSV, Act
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.audit.case_csv import Sheet, sheet, sheet_of
from workers.pipeline.context import Context
from workers.pipeline.desk.waiting import require_case
from workers.pipeline.record_sets import scan, workspace
from workers.records.schema import IDENTIFIER


@dataclass(frozen=True)
class WriteCsv:
    """Write the quarantine of a case as CSV, or what was sent in one of its submissions."""

    case_id: str
    submission: str | None = None

    def outcome(self, context: Context) -> Mapping[str, Any]:
        """Return the file's name and sha256 in the archive, and how many records it has.

        Raises InputUnusable where no record with a row is to be written.
        """
        require_case(context, self.case_id)
        there = self._sent(context) if self.submission else sheet(context, self.case_id, Bucket.QUARANTINED)
        if there is None:
            raise InputUnusable("no record of it is quarantined that has a row", where=self.case_id)
        label = f"sent-{self.submission}" if self.submission else "quarantine"
        with workspace(context) as folder:
            path = folder / f"{label}.csv"
            there.cells().sink_csv(path)
            ref = context.archive.keep(self.case_id, label, path)
        records = there.records.select(pl.len()).collect().item()
        summary = f"{counted(records, 'record')} of {self.case_id} as CSV, {label.replace('-', ' ', 1)}"
        return {"file": [ref.name, ref.sha256], "records": records, "summary": summary}

    def _sent(self, context: Context) -> Sheet:
        """Return the records of a submission without those that were left out at the last look."""
        found = (one for one in context.ledger.submissions.of_case(self.case_id) if one.id == self.submission)
        submission = next(found, None)
        if submission is None:
            raise InputUnusable("the case has no such submission", where=str(self.submission))
        chunks = context.ledger.chunks.of(submission.id).values()
        left_out = [identifier for chunk in chunks for identifier in chunk.withheld or ()]
        return sheet_of(scan(context, submission.ref).filter(~pl.col(IDENTIFIER).is_in(left_out)))


READINGS: Final[Mapping[str, type[WriteCsv]]] = {CSV: WriteCsv}


def is_reading(act: Act) -> bool:
    """Whether an act changes nothing, so that nobody has to approve it."""
    return act.kind in READINGS
