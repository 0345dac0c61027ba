"""A failed-records file that a person gives, such as the error file of an upload in the Dashboard.

The Dashboard offers a file "that includes the reason for each failed record" (Stripe docs, "Record usage in bulk"),
and no event need come with it. Taken in, it is the case that Stripe's event would open. That it is such a list,
nobody has vouched for: each row must tell a refusal, or usage that was billed would be sent again.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.errors import FileUnusable, Permanent
from workers.kernel.files import file_name
from workers.kernel.given_file import LABEL, GivenFile, given_file
from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.events import StoredEvent
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.audit.case_csv import is_of_a_case
from workers.pipeline.case_key import FAILED_RECORDS, of_given_list, of_import_set
from workers.pipeline.context import Context
from workers.pipeline.intake.failed_rows import StoredRows
from workers.pipeline.intake.import_files import Import, failed_rows, read_options
from workers.pipeline.intake.import_set import our_submission, take_in_list, told_as
from workers.pipeline.intake.open_case import Taken
from workers.pipeline.intake.verdicts import take_in_verdict
from workers.pipeline.record_sets import workspace
from workers.pipeline.submit.submitted_index import SUBMISSION, carried, may_have_carried
from workers.records.files.open import open_file
from workers.records.schema import IDENTIFIER, SOURCE
from workers.remedies.codes import stripes_codes
from workers.reports.failed_records import recognise, repeats_records
from workers.reports.import_set import ImportSetReport, ImportStatus

_ALONE: Final = "give the list of failed records alone, as Stripe wrote it"
_TO_FIX: Final = "to hand back what you have edited: metermend fix CASE --file, or the case's page"


def take_in(context: Context, event: StoredEvent) -> Taken:
    """Open the case of the list, or continue it where Stripe or somebody else has told of it already.

    Of a file that we submitted it is the verdict. Raises FileUnusable where it is no list of failed records, or one
    that must be said to be of a file of ours, and Permanent where its bytes are gone.
    """
    given = given_file(event)
    with workspace(context) as folder, workspace(context) as parts:
        shutil.copyfile(_fetched(context, event, given), folder / LABEL)
        rows = StoredRows(parts)
        imported = Import(context, event, _report(given, None), _names(given), folder)
        rows.put_down(_records(imported, given))
        if not rows.records:
            raise FileUnusable("it lists no record", where=given.name, mend=_ALONE)
        submission = our_submission(imported)
        taken = (
            _take_in_ours(imported, given, rows, submission)
            if submission
            else _take_in_theirs(imported, given, rows)
        )
    context.archive.delete(given.kept_as)
    return taken


def _take_in_ours(imported: Import, given: GivenFile, rows: StoredRows, submission: Submission) -> Taken:
    """Take in what Stripe refused of a file of ours; it is believed to have taken in all the rest."""
    context, event = imported.context, imported.event
    context.archive.keep(submission.case_id, LABEL, imported.folder / LABEL)
    counted = Import(context, event, _report(given, rows.records), imported.names, imported.folder)
    return take_in_verdict(counted, submission)


def _take_in_theirs(imported: Import, given: GivenFile, rows: StoredRows) -> Taken:
    failure, source = told_as(imported, _failure(imported.event, given), rows)
    if imported.context.ledger.cases.get(failure.case_id) is None:
        _require_none_of_ours(imported, given, rows)
    return take_in_list(imported, failure, source, rows, advice="")


def _fetched(context: Context, event: StoredEvent, given: GivenFile) -> Path:
    """Return the file's bytes: where they were put, or where a case that they led to has them."""
    with suppress(Permanent):
        return context.archive.fetch(RecordSetRef(given.kept_as, given.sha256))
    cases = [one.case_id for one in context.ledger.event_list.led_to(event.id)]
    names = [name for case_id in cases for name in context.archive.names(case_id)]
    kept = f"/{LABEL}-{given.sha256[:16]}"
    found = next((name for name in names if name.endswith(kept)), None)
    if found is None:
        raise Permanent(f"{given.name} is not in the archive any more - give it again")
    return context.archive.fetch(RecordSetRef(found, given.sha256))


def _names(given: GivenFile) -> tuple[str, ...]:
    return (given.imported_as,) if given.imported_as else ()


def _failure(event: StoredEvent, given: GivenFile) -> Failure:
    if given.import_set is None:
        return of_given_list(event, given.sha256, given.name)
    name = given.imported_as or given.name
    return of_import_set(event, given.import_set, kind=FAILED_RECORDS, file_name=name, reason=None)


def _report(given: GivenFile, counted: int | None) -> ImportSetReport:
    """Return what an event of Stripe's would say of the import, as far as anybody knows."""
    return ImportSetReport(
        event_id=None,
        import_set_id=given.import_set,
        status=ImportStatus.SUCCEEDED_WITH_ERRORS,
        failed_reason=None,
        error_file_id=given.sha256,
        error_count=counted,
        rows_processed=None,
        success_count=None,
        created_count=None,
        duplicate_count=None,
        filtered_count=None,
        source_file_id=None,
        source_names=(),
        template=None,
        created=None,
        oddities=(),
    )


def _records(imported: Import, given: GivenFile) -> Iterator[pl.DataFrame]:
    """Yield the rows of the list. Raises FileUnusable, by the file's own name, where it is none."""
    try:
        _require_list(imported)
        for frame in failed_rows(imported):
            yield frame if imported.names else frame.with_columns(pl.lit(given.name).alias(SOURCE))
    except FileUnusable as error:
        raise FileUnusable(error.what, where=given.name, mend=error.mend) from error


def _require_list(imported: Import) -> None:
    options = read_options(imported.context.settings)
    file = open_file(imported.folder / LABEL, options)
    if is_of_a_case(file.layout.columns):  # its records stand in that case: taken in, they would count twice
        raise FileUnusable("it was written by us, of a case that is known", where=file.layout.name, mend=_TO_FIX)
    if repeats_records(file.layout) and recognise(file, options, codes=stripes_codes()) is None:
        raise FileUnusable("not every row of it says that it was refused", where=file.layout.name, mend=_ALONE)


def _require_none_of_ours(imported: Import, given: GivenFile, rows: StoredRows) -> None:
    """Raise FileUnusable where we have sent records of the list: then it may be the list of a file of ours."""
    context, account = imported.context, imported.event.account
    told = pl.concat([frame.select(IDENTIFIER) for frame in rows])[IDENTIFIER]
    sent = carried(context, may_have_carried(context, account, IDENTIFIER, told), IDENTIFIER, told)
    if sent.is_empty():
        return
    name = file_name(sent[SUBMISSION][0])
    raise FileUnusable(
        f"{sent[IDENTIFIER].n_unique()} of its {told.len()} records were sent by us, in {name} among others",
        where=given.name,
        mend=f"where it is the list of that file, say so: metermend take-in --of {name}; else leave them out",
    )
