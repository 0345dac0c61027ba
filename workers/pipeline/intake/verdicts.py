"""Stripe's verdict on a file of ours: what its import set counts, against the records of that very file.

A submission of several files has as many import sets, and each speaks of its own file only. A verdict proves that
the file's records are well-formed where its counters account for all of them; what they do not account for is held.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD
from workers.kernel.errors import FileUnusable
from workers.kernel.files import part_of
from workers.kernel.ledger.chunks import StoredChunk
from workers.kernel.ledger.journal import Movement
from workers.kernel.ledger.submissions import Submission
from workers.kernel.logs import get_logger
from workers.kernel.reasons import ALREADY_EXISTS, ARRIVAL_UNKNOWN
from workers.pipeline.context import Context
from workers.pipeline.intake.import_files import Import, failed_rows
from workers.pipeline.intake.open_case import Taken
from workers.pipeline.record_sets import FORMAT, scan
from workers.pipeline.submit.outcomes import (
    REASON_SCHEMA,
    REFUSAL_SCHEMA,
    held_reasons,
    refuse,
    set_aside,
    set_aside_rest,
)
from workers.records.schema import CODE, IDENTIFIER, MESSAGE, REASON, SUGGESTION, with_columns_of
from workers.reports.import_set import ImportSetReport, ImportStatus
from workers.targets.files import PUT_AGAIN

log = get_logger(__name__)

IMPORT_SET: Final = "import_set"
"""In a verdict, the import set that it is of."""
ACCOUNTED: Final = "accounted_for"
"""In a verdict, whether its counters are those of the file's records."""
_LOOK: Final = "see in its summaries which of them arrived"


@dataclass(frozen=True)
class OurFile:
    """One file of a submission: its number, the identifiers in it, and what the ledger knows of it."""

    number: int
    identifiers: pl.DataFrame
    chunk: StoredChunk | None

    @property
    def tried_again(self) -> bool:
        """Whether an earlier file of that name may have been read as well."""
        result = self.chunk.result if self.chunk else None
        return not isinstance(result, Mapping) or bool(result.get(PUT_AGAIN))

    def imported_before(self, import_set: str) -> bool:
        """Whether another import set has taken it in."""
        verdict = self.chunk.verdict if self.chunk else None
        return verdict is not None and verdict[IMPORT_SET] != import_set and bool(verdict[ACCOUNTED])


@dataclass(frozen=True)
class Counters:
    """What an import set counts of a file of `records`, `refused` of them; None where it gives no counter."""

    records: int
    refused: int
    processed: int | None
    successes: int | None
    duplicates: int | None
    filtered: int | None

    @classmethod
    def of(cls, report: ImportSetReport, records: int, listed: int) -> "Counters":
        skipped = report.duplicate_count, report.filtered_count
        if report.status is ImportStatus.FAILED:
            return cls(records, records, None, report.success_count or report.created_count, *skipped)
        refused = max(report.error_count or 0, listed)
        return cls(records, refused, report.rows_processed, report.success_count, *skipped)

    @property
    def all_skipped(self) -> bool:
        """Whether every record that was not refused was skipped as a duplicate."""
        return bool(self.duplicates) and self.duplicates == self.records - self.refused and not self.successes

    @property
    def account_for_all(self) -> bool:
        """Whether nothing that Stripe counts speaks against: it refused what it lists and took in all the rest."""
        rest = self.records - self.refused
        taken = rest if self.successes is None else self.successes
        processed = self.records if self.processed is None else self.processed
        return not self.duplicates and not self.filtered and taken == rest and processed == self.records

    def __str__(self) -> str:
        counted = {
            "taken in": self.successes,
            "refused": self.refused,
            "skipped as duplicates": self.duplicates,
            "skipped by a filter": self.filtered,
            "processed": self.processed,
        }
        return ", ".join(f"{count} {what}" for what, count in counted.items() if count is not None)


def take_in_verdict(imported: Import, submission: Submission) -> Taken:
    """Take in what Stripe says of a file that we submitted: what it refused belongs to the case it came from.

    Where it cannot be seen which records of the file were refused, or which were taken in, none of it can count as
    arrived.
    """
    context, report = imported.context, imported.report
    if report.status is ImportStatus.OTHER:
        return Taken((submission.case_id,))
    file = _our_file(context, imported.names, submission)
    refused, unnamed = _refused_of(imported, submission, file)
    counters = Counters.of(report, file.identifiers.height, refused.height)
    verdict = _Verdict(imported, submission, file, counters)
    with context.ledger.cases.hold(submission.case_id, context.owner, context.lease) as held:
        moves = list(verdict.refused(refused, unnamed))
        with held.transaction(last=True) as transaction:
            transaction.move(*moves)
            transaction.submissions.judged(submission.id, file.number, imported.id, report.status, verdict.said)
            transaction.reschedule(context.clock())
    return Taken((submission.case_id,))


def _our_file(context: Context, names: tuple[str, ...], submission: Submission) -> OurFile:
    """Return the file that is named, with what it holds; where the ledger does not know, all of the submission."""
    number = next(part for part in map(part_of, names) if part is not None)
    chunk = context.ledger.chunks.of(submission.id).get(number)
    sent = scan(context, submission.ref).select(IDENTIFIER)
    if chunk is None or chunk.first is None:
        return OurFile(number, sent.collect(), None)
    rows = sent.slice(chunk.first, chunk.records).collect()
    return OurFile(number, rows.filter(~pl.col(IDENTIFIER).is_in(list(chunk.withheld or {}))), chunk)


def _refused_of(imported: Import, submission: Submission, file: OurFile) -> tuple[pl.DataFrame, int]:
    """Return the records of our file that Stripe refused, as REFUSAL_SCHEMA, and how many more it counts."""
    report = imported.report
    if report.status is ImportStatus.SUCCEEDED:
        return pl.DataFrame(schema=REFUSAL_SCHEMA), 0
    if report.status is ImportStatus.FAILED:
        known = file.identifiers if file.chunk else file.identifiers.clear()  # else nobody knows what it holds
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
    """What one import set says of one file of a submission, and what follows for its records."""

    imported: Import
    submission: Submission
    file: OurFile
    counters: Counters

    @property
    def _again(self) -> bool:
        return self.file.imported_before(self.imported.id)

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
        """Yield the entries for what was refused, and for what may have been or may not have been taken in."""
        case, key = (self.imported.context, self.submission), f"import_set:{self.imported.id}"
        event_id = self.imported.event.id
        whole_in_doubt = self.imported.report.status is ImportStatus.FAILED and not self.accounted_for
        exists = refused.filter(pl.col(CODE).eq_missing(ALREADY_EXISTS))[IDENTIFIER]
        named = refused.clear() if whole_in_doubt else refused
        yield from set_aside(*case, self._reasons(exists), failure_key=key)
        truly = named.filter(~pl.col(IDENTIFIER).is_in(exists.implode()))
        yield from refuse(*case, truly, refused_as=FORMAT, failure_key=key, event_id=event_id)
        if unnamed:
            among = self.file.identifiers
            yield from set_aside_rest(*case, named, unnamed, failure_key=key, among=among)
        elif not self.accounted_for:
            rest = self.file.identifiers.join(named, on=IDENTIFIER, how="anti")[IDENTIFIER]
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
        tried = exists.to_list() if self._again or self.file.tried_again else []
        account = self.imported.event.account
        return held_reasons(self.imported.context, account, self.submission, exists, tried=tried)
