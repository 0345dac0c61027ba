"""A file of ours and what an import set counts of it: its records are those of all submissions that share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from workers.kernel.files import part_of
from workers.kernel.given_file import is_given
from workers.kernel.ledger.chunks import StoredChunk
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context
from workers.pipeline.record_sets import scan
from workers.records.schema import IDENTIFIER
from workers.reports.import_set import ImportSetReport, ImportStatus
from workers.targets.files import PUT_AGAIN

IMPORT_SET: Final = "import_set"
"""In a verdict, the import set that it is of."""
ACCOUNTED: Final = "accounted_for"
"""In a verdict, whether its counters are those of the file's records."""


@dataclass(frozen=True)
class Part:
    """What a submission has in a file: its chunk, with its number, and the identifiers that went."""

    submission: Submission
    number: int
    identifiers: pl.DataFrame
    chunk: StoredChunk | None

    @property
    def tried_again(self) -> bool:
        """Whether an earlier file of that name may have been read as well."""
        result = self.chunk.result if self.chunk else None
        return not isinstance(result, Mapping) or bool(result.get(PUT_AGAIN))

    def imported_before(self, import_set: str) -> bool:
        """Whether another import set has taken it in; what a person has told before may be of any."""
        verdict = self.chunk.verdict if self.chunk else None
        if verdict is None or is_given(verdict[IMPORT_SET]):
            return False
        return verdict[IMPORT_SET] != import_set and bool(verdict[ACCOUNTED])


@dataclass(frozen=True)
class OurFile:
    """A file of ours: the parts of all submissions that share it, mostly of one."""

    parts: Sequence[Part]

    @cached_property
    def identifiers(self) -> pl.DataFrame:
        return pl.concat([part.identifiers for part in self.parts])

    @property
    def is_known(self) -> bool:
        """Whether the ledger knows what it holds."""
        return all(part.chunk is not None for part in self.parts)


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


def our_file(context: Context, names: tuple[str, ...], submission: Submission) -> OurFile:
    """Return the file that is named, with what it holds; where the ledger does not know, all of the submission."""
    number = next(part for part in map(part_of, names) if part is not None)
    chunk = context.ledger.chunks.of(submission.id).get(number)
    if chunk is None or chunk.file is None:
        return OurFile([_part(context, submission, number, chunk)])
    members = context.ledger.shared_files.members(chunk.file)
    return OurFile([_part(context, member.submission, number, member.chunk) for member in members])


def _part(context: Context, submission: Submission, number: int, chunk: StoredChunk | None) -> Part:
    sent = scan(context, submission.ref).select(IDENTIFIER)
    if chunk is None or chunk.first is None:
        return Part(submission, number, sent.collect(), None)
    rows = sent.slice(chunk.first, chunk.records).collect()
    return Part(submission, number, rows.filter(~pl.col(IDENTIFIER).is_in(list(chunk.withheld or {}))), chunk)
