"""Events about imported files: a file that was refused whole, rows that were refused, or a verdict on our own file.

Other products of Stripe import files under the same event types, and the event names no template, so a foreign
import is told by its columns, which takes a table without a single column of a usage record. A page or an error in
its place shows nothing, and a file that lies among its sender's usage is usage.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

import polars as pl

from workers.kernel.clock import STORE_AHEAD
from workers.kernel.errors import FileForeign, FileUnusable, Permanent
from workers.kernel.files import submission_of
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.events import Origin, StoredEvent
from workers.kernel.ledger.submissions import Submission
from workers.kernel.reasons import FILE_NOT_FOUND, PERHAPS_IMPORTED, ROWS_NOT_LISTED
from workers.pipeline.case_key import FAILED_RECORDS, UNEXPLAINED_FILE, WHOLE_FILE, of_import_set
from workers.pipeline.context import Context
from workers.pipeline.intake.failed_rows import StoredRows, told_records
from workers.pipeline.intake.import_files import (
    Import,
    content_digest,
    copies_of_refused,
    failed_rows,
    original_file,
)
from workers.pipeline.intake.older_files import OlderFiles
from workers.pipeline.intake.one_list import one_list
from workers.pipeline.intake.open_case import Seen, Taken, take_in_seen
from workers.pipeline.intake.other_lists import hold_told
from workers.pipeline.intake.unlocated import Unlocated
from workers.pipeline.intake.verdicts import take_in_verdict
from workers.pipeline.record_sets import FORMAT, workspace
from workers.records.schema import REASON, SUGGESTION
from workers.reports.import_set import ImportSetReport, ImportStatus, read

FOREIGN: Final = "foreign_import_set"
CLEAN: Final = "clean_import_set"
UNFINISHED: Final = "unfinished_import_set"


def take_in(context: Context, event: StoredEvent) -> Taken:
    """Branch on the import set's status; the event's type alone does not tell it."""
    report = read(json.loads(event.raw or b"null"))
    names = _file_names(context, event, report)
    with workspace(context) as folder:
        return _take_in(Import(context, event, report, names, folder))


def _take_in(imported: Import) -> Taken:
    submission, status = our_submission(imported), imported.report.status
    if submission is not None:
        return take_in_verdict(imported, submission)
    if status is ImportStatus.SUCCEEDED:
        return Taken(ignored=CLEAN)
    if status is ImportStatus.OTHER:
        return Taken(ignored=UNFINISHED)
    take_in_by_status = _take_in_file if status is ImportStatus.FAILED else _take_in_rows
    with workspace(imported.context) as folder:
        return take_in_by_status(imported, StoredRows(folder))


def _file_names(context: Context, event: StoredEvent, report: ImportSetReport) -> tuple[str, ...]:
    """Return the names under which the imported file may be known, Stripe's own first."""
    if report.source_file_id is None:
        return report.source_names
    name = context.stripe.file_name(report.source_file_id, event.account)
    return tuple(dict.fromkeys([*([name] if name else []), *report.source_names]))


def our_submission(imported: Import) -> Submission | None:
    """Return the submission whose file it is; a file of that name in another account is not ours."""
    ledger = imported.context.ledger
    for submission_id in filter(None, map(submission_of, imported.names)):
        submission = ledger.submissions.get(submission_id)
        case = ledger.cases.get(submission.case_id) if submission else None
        if case is not None and case.failure.account == imported.event.account:
            return submission
    return None


def _take_in_rows(imported: Import, rows: StoredRows) -> Taken:
    """Open the case of a file of which rows were refused."""
    report = imported.report
    try:
        if report.error_file_id:
            rows.put_down(failed_rows(imported))
    except FileUnusable as error:
        if isinstance(error, FileForeign) and _is_foreign(imported):
            return Taken(ignored=FOREIGN)
        advice = str(error)
    else:
        advice = "Open the import set in the Dashboard and download its error report."
    return take_in_list(imported, *told_as(imported, _failure(imported, FAILED_RECORDS), rows), rows, advice)


def told_as(imported: Import, own: Failure, rows: StoredRows) -> tuple[Failure, str]:
    """Return the failure that a list is of, `own` unless it was told before, and what stands for its content."""
    if not rows.records:
        return own, ""
    return one_list(imported.context, own, rows, content_digest(imported, rows))


def take_in_list(imported: Import, failure: Failure, source: str, rows: StoredRows, advice: str) -> Taken:
    """Take in the rows of a failed-records file, and count those that it should have and has not."""
    counted = imported.report.error_count
    told = told_records(rows, source, counted)
    missing = max(
        0, (counted or (0 if told.records else 1)) - told.records
    )  # errors without a number: one at least
    unlocated = Unlocated({ROWS_NOT_LISTED: missing} if missing else {}, {ROWS_NOT_LISTED: advice})
    return _opened(imported, failure, hold_told(imported.context, failure, told), unlocated, by_row=True)


def _take_in_file(imported: Import, rows: StoredRows) -> Taken:
    """Open the case of a file that was refused whole: every record of it is to be sent again."""
    report = imported.report
    try:
        found = original_file(imported)
        if found:
            rows.put_down(found.frames())
    except FileUnusable as error:
        if isinstance(error, FileForeign) and _is_foreign(imported):
            return Taken(ignored=FOREIGN)
        found, advice = None, str(error)
    else:
        advice = "The file was not found: name the place that it lies in under USAGE_SOURCES, then retry the event."
    kind = WHOLE_FILE if found and found.explains_refusal else UNEXPLAINED_FILE
    counts = {} if rows.records else {FILE_NOT_FOUND: max(1, report.rows_processed or 0)}
    unlocated = Unlocated(counts, {FILE_NOT_FOUND: advice})
    return _opened(imported, _failure(imported, kind), _held_if_counted(rows, report), unlocated, by_row=False)


def _held_if_counted(rows: Iterable[pl.DataFrame], report: ImportSetReport) -> Iterable[pl.DataFrame]:
    """Return the records of a file that failed; where Stripe has counted some of them, nobody knows which."""
    counters = {
        "successes": report.success_count,
        "objects created": report.created_count,
        "duplicates skipped": report.duplicate_count,
    }
    told = ", ".join(f"{count} {what}" for what, count in counters.items() if count)
    if not told:
        return rows
    advice = f"Stripe counts {told} in the file that failed: compare with its summaries what is billed already."
    words = pl.lit(PERHAPS_IMPORTED).alias(REASON), pl.lit(advice).alias(SUGGESTION)
    return (frame.with_columns(words) for frame in rows)


def _failure(imported: Import, kind: str) -> Failure:
    name, reason = next(iter(imported.names), None), imported.report.failed_reason
    return of_import_set(imported.event, imported.id, kind=kind, file_name=name, reason=reason)


def _opened(
    imported: Import, failure: Failure, records: Iterable[pl.DataFrame], unlocated: Unlocated, *, by_row: bool
) -> Taken:
    context, event = imported.context, imported.event
    older = OlderFiles(imported.sources, imported.begun, partial(copies_of_refused, imported), by_row)
    kept = [context.archive.keep(failure.case_id, path.stem, path) for path in sorted(imported.folder.iterdir())]
    by_hand = event.origin is Origin.GIVEN
    oddities = imported.report.oddities
    seen = Seen(failure, older.hold(records), FORMAT, event.id, unlocated, kept, oddities, by_hand=by_hand)
    return Taken((take_in_seen(context, seen),))


def _is_foreign(imported: Import) -> bool:
    """Tell whether an import that looks foreign is: its file neither lies among its sender's usage nor is usage."""
    try:
        if any(imported.sources.file(name, imported.begun + STORE_AHEAD) for name in imported.names):
            return False
    except (FileUnusable, Permanent):  # it lies there, though it was written since, or several do
        return False
    with suppress(FileUnusable, Permanent):
        return original_file(imported) is None
    return True
