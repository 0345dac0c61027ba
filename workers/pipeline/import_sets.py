"""Events about imported files: a file that was refused whole, rows that were refused, or a verdict on our own file.

Other products of Stripe import files under the same event types, and the event names no template, so a foreign
import is told by its columns: a file without a single column of a usage record is not ours.
"""

import json
from typing import Final

from workers.kernel.ledger.events import StoredEvent
from workers.pipeline.book import workspace
from workers.pipeline.context import Context
from workers.pipeline.taken import Taken
from workers.reports.import_set import ImportSetReport, ImportStatus, read

FOREIGN: Final = "foreign_import_set"
CLEAN: Final = "clean_import_set"
UNFINISHED: Final = "unfinished_import_set"
FILE_NOT_FOUND: Final = "file_not_found"
ROWS_NOT_LISTED: Final = "rows_not_listed"


def take_in(context: Context, event: StoredEvent) -> Taken:
    """Branch on the import set's status; the event's type alone does not tell it."""
    report = read(json.loads(event.raw or b"null"))
    names = _file_names(context, event, report)
    submission = _our_submission(context, names)
    if submission is not None:
        return _take_in_verdict(context, event, report, submission)
    if report.status is ImportStatus.SUCCEEDED:
        return Taken(ignored=CLEAN)
    if report.status is ImportStatus.OTHER:
        return Taken(ignored=UNFINISHED)
    with workspace(context) as folder:
        if report.status is ImportStatus.FAILED:
            return _take_in_file(context, event, report, names, folder)
        return _take_in_rows(context, event, report, names, folder)


def _file_names(context: Context, event: StoredEvent, report: ImportSetReport) -> tuple[str, ...]:
    """Return the names under which the imported file may be known, Stripe's own first."""
    if report.source_file_id is None:
        return report.source_names
    name = context.stripe.fetch_file(report.source_file_id, event.account).filename
    return tuple(dict.fromkeys([*([name] if name else []), *report.source_names]))
