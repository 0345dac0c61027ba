"""Stripe's verdict on a file of ours: what its import set counts, against the records of that very file.

A submission of several files has as many import sets, and each speaks of its own file only. A verdict proves that
the file's records are well-formed where its counters account for all of them; what they do not account for is held.
Where submissions share a file, its counters speak of all of them or of none, and each case takes in its own part.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD
from workers.kernel.errors import Conflict, FileUnusable
from workers.kernel.ledger.journal import Movement
from workers.kernel.ledger.submissions import Submission
from workers.kernel.logs import get_logger
from workers.kernel.reasons import ALREADY_EXISTS, ARRIVAL_UNKNOWN
from workers.pipeline.intake.import_files import Import, failed_rows
from workers.pipeline.intake.open_case import Taken
from workers.pipeline.intake.our_file import ACCOUNTED, IMPORT_SET, Counters, OurFile, Part, our_file
from workers.pipeline.record_sets import FORMAT
from workers.pipeline.submit.outcomes import (
    REASON_SCHEMA,
    REFUSAL_SCHEMA,
    held_reasons,
    refuse,
    set_aside,
    set_aside_rest,
)
from workers.records.schema import CODE, IDENTIFIER, MESSAGE, REASON, SUGGESTION, with_columns_of
from workers.reports.import_set import ImportStatus

log = get_logger(__name__)

_LOOK: Final = "see in its summaries which of them arrived"


def take_in_verdict(imported: Import, submission: Submission) -> Taken:
    """Take in what Stripe says of a file that we submitted: what it refused belongs to the case it came from.

    Where it cannot be seen which records of the file were refused, or which were taken in, none of it can count as
    arrived. Raises Conflict where another worker holds one of the cases that share the file, once the others have
    their part; a case that has it is left alone when the event is taken in again.
    """
    if imported.report.status is ImportStatus.OTHER:
        return Taken((submission.case_id,))
    file = our_file(imported.context, imported.names, submission)
    refused, unnamed = _refused_of(imported, submission, file)
    counters = Counters.of(imported.report, file.identifiers.height, refused.height)
    conflicts = []
    for part in file.parts:
        verdict = _Verdict(imported, part, counters)
        try:
            if len(file.parts) == 1 or not verdict.is_taken_in:
                _take_in_part(verdict, refused, unnamed)
        except Conflict as conflict:
            conflicts.append(conflict)
    if conflicts:
        raise conflicts[0]
    return Taken(tuple(dict.fromkeys(part.submission.case_id for part in file.parts)))


def _take_in_part(verdict: "_Verdict", refused: pl.DataFrame, unnamed: int) -> None:
    """Write what a verdict says of one submission into its case."""
    part, imported = verdict.part, verdict.imported
    context, own = imported.context, refused.join(part.identifiers, on=IDENTIFIER, how="semi")
    with context.ledger.cases.hold(part.submission.case_id, context.owner, context.lease) as held:
        moves = list(verdict.refused(own, unnamed))
        judged = part.submission.id, part.number, imported.id, imported.report.status, verdict.said
        with held.transaction(last=True) as transaction:
            transaction.move(*moves)
            transaction.submissions.judged(*judged)
            transaction.reschedule(context.clock())


def _refused_of(imported: Import, submission: Submission, file: OurFile) -> tuple[pl.DataFrame, int]:
    """Return the records of our file that Stripe refused, as REFUSAL_SCHEMA, and how many more it counts."""
    report = imported.report
    if report.status is ImportStatus.SUCCEEDED:
        return pl.DataFrame(schema=REFUSAL_SCHEMA), 0
    if report.status is ImportStatus.FAILED:
        known = file.identifiers if file.is_known else file.identifiers.clear()  # else nobody knows what it holds
        reason = pl.lit(report.failed_reason, pl.String).alias(MESSAGE)
        whole = known.select(IDENTIFIER, pl.lit(MALFORMED_RECORD, pl.String).alias(CODE), reason)
        return whole, file.identifiers.height - whole.height
    counted = max(1, report.error_count or 0)
    try:
        rows = _listed_rows(imported)
    except FileUnusable as error:
        log.warning("verdict_unreadable", submission_id=submission.id, error=str(error))
        return pl.DataFrame(schema=REFUSAL_SCHEMA), counted
    matched = rows.join(file.identifiers, on=IDENTIFIER, how="semi").unique(IDENTIFIER, maintain_order=True)
    return matched, max(0, counted - matched.height)


def _listed_rows(imported: Import) -> pl.DataFrame:
    rows = failed_rows(imported) if imported.report.error_file_id else iter(())
    chosen = [with_columns_of(frame, REFUSAL_SCHEMA).select(list(REFUSAL_SCHEMA)) for frame in rows]
    return pl.concat([pl.DataFrame(schema=REFUSAL_SCHEMA), *chosen]).drop_nulls(IDENTIFIER)


@dataclass(frozen=True)
class _Verdict:
    """What one import set says of a file of ours, and what follows for the records of one submission in it."""

    imported: Import
    part: Part
    counters: Counters

    @property
    def is_taken_in(self) -> bool:
        """Whether the case knows all of it: what is said and what follows from it are written in one commit."""
        return self.part.chunk is not None and self.part.chunk.verdict == self.said

    @property
    def _again(self) -> bool:
        return self.part.imported_before(self.imported.id)

    @property
    def accounted_for(self) -> bool:
        """Whether the counters are those of the file's records; of one imported before, that nothing is new."""
        return not self.counters.successes if self._again else self.counters.account_for_all

    @property
    def said(self) -> dict[str, Any] | None:
        """What was compared, as plain JSON; of a file that was imported before the first word stands."""
        if self._again:
            return None
        told = {IMPORT_SET: self.imported.id, "status": self.imported.report.status}
        return {**told, **asdict(self.counters), ACCOUNTED: self.accounted_for}

    def refused(self, refused: pl.DataFrame, unnamed: int) -> Iterator[Movement]:
        """Yield the entries for what was refused, and for what may have been or may not have been taken in.

        `refused` are those of the submission's own, `unnamed` is how many more of the whole file were refused.
        """
        case, key = (self.imported.context, self.part.submission), f"import_set:{self.imported.id}"
        event_id = self.imported.event.id
        whole_in_doubt = self.imported.report.status is ImportStatus.FAILED and not self.accounted_for
        exists = refused.filter(pl.col(CODE).eq_missing(ALREADY_EXISTS))[IDENTIFIER]
        named = refused.clear() if whole_in_doubt else refused
        yield from set_aside(*case, self._reasons(exists), failure_key=key)
        truly = named.filter(~pl.col(IDENTIFIER).is_in(exists.implode()))
        yield from refuse(*case, truly, refused_as=FORMAT, failure_key=key, event_id=event_id)
        if unnamed:
            among = self.part.identifiers
            yield from set_aside_rest(*case, named, unnamed, failure_key=key, among=among)
        elif not self.accounted_for:
            rest = self.part.identifiers.join(named, on=IDENTIFIER, how="anti")[IDENTIFIER]
            yield from set_aside(*case, self._unaccounted(rest), failure_key=key)

    def _unaccounted(self, rest: pl.Series) -> pl.DataFrame:
        if self.counters.all_skipped and not self._again:
            return self._reasons(rest)
        advice = f"Stripe's import of its file counts {self.counters}, of {self.counters.records} records"
        advice += " that it had taken in before" if self._again else ""
        words = pl.lit(ARRIVAL_UNKNOWN).alias(REASON), pl.lit(f"{advice}: {_LOOK}").alias(SUGGESTION)
        return rest.to_frame().with_columns(*words).select(list(REASON_SCHEMA))

    def _reasons(self, exists: pl.Series) -> pl.DataFrame:
        """Return why records are held that Stripe skipped, or refused as there already."""
        tried = exists.to_list() if self._again or self.part.tried_again else []
        account = self.imported.event.account
        return held_reasons(self.imported.context, account, self.part.submission, exists, tried=tried)
