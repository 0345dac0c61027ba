"""What an import set's event tells of a file: refused as a whole, refused in part, or taken.

Stripe publishes no schema of the import set. The names read here are those of Stripe docs, "Record usage in bulk"
(the events, `failed_reason`, `succeeded_with_errors`, the failed-records file) and those that open integrations of
the same object rely on; every one is optional, and what reads otherwise than expected is kept in `oddities`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from workers.kernel.codes import EventType
from workers.kernel.errors import Permanent
from workers.reports.fields import Fields


class ImportStatus(StrEnum):
    """Where an import set stands, as far as records can be lost by it."""

    FAILED = "failed"
    SUCCEEDED_WITH_ERRORS = "succeeded_with_errors"
    SUCCEEDED = "succeeded"
    OTHER = "other"
    """Under way, archived, or a status that nobody has met yet."""


@dataclass(frozen=True)
class ImportSetReport:
    """One import set, as its event describes it.

    `status` is the branch to take. `failed_reason` is Stripe's sentence on a whole file. `error_file_id` is the
    failed-records file, `error_count` how many records it should hold. `success_count`, `created_count`,
    `duplicate_count` and `filtered_count` are Stripe's other counters, None where it gives none: rows taken,
    objects made of them, rows skipped as duplicates and skipped by a filter. `source_file_id` and `source_names`
    lead to the file that was imported; `template` names its format, where the event says so (other products of
    Stripe import files, too). `oddities` are sentences for a person.
    """

    event_id: str | None
    import_set_id: str | None
    status: ImportStatus
    failed_reason: str | None
    error_file_id: str | None
    error_count: int | None
    rows_processed: int | None
    success_count: int | None
    created_count: int | None
    duplicate_count: int | None
    filtered_count: int | None
    source_file_id: str | None
    source_names: tuple[str, ...]
    template: str | None
    created: datetime | None
    oddities: tuple[str, ...]


_NAME_FIELDS = ("filename", "file_name", "name", "title", "key")


def read(event: Mapping[str, Any]) -> ImportSetReport:
    """Read a `data_management.import_set.*` snapshot event.

    Raises Permanent when the event carries no import set at all.
    """
    fields = Fields()
    if not isinstance(event, Mapping):
        raise Permanent("the event is no JSON object")
    data = fields.mapping(event.get("data"), "data")
    subject = fields.mapping(data.get("object"), "data.object")
    if not subject:
        raise Permanent("the event carries no import set: data.object is absent or empty")
    result = fields.mapping(subject.get("result"), "result")
    errors = fields.mapping(result.get("errors"), "result.errors")
    error_file = _first(errors, "file", "file_id")
    error_file_id = fields.identity(error_file, "result.errors.file")
    error_count = fields.count(_first(errors, "row_count", "count"), "result.errors.row_count")
    stripe_status = fields.text(subject.get("status"), "status")
    refused_some = error_file_id is not None or bool(error_count)
    return ImportSetReport(
        event_id=fields.text(event.get("id"), "id"),
        import_set_id=_import_set_id(fields, subject),
        status=_status(fields, stripe_status, event.get("type"), refused_some=refused_some),
        failed_reason=_failed_reason(fields, subject, data, event),
        error_file_id=error_file_id,
        error_count=error_count,
        rows_processed=fields.count(result.get("rows_processed"), "result.rows_processed"),
        success_count=_row_count(fields, result, "successes"),
        created_count=fields.count(result.get("objects_created"), "result.objects_created"),
        duplicate_count=_row_count(fields, result, "skipped_duplicates"),
        filtered_count=_row_count(fields, result, "skipped_by_filter"),
        source_file_id=fields.identity(subject.get("file"), "file"),
        source_names=tuple(dict.fromkeys(_source_names(fields, subject))),
        template=fields.text(subject.get("standard_data_format"), "standard_data_format"),
        created=fields.moment(_first(subject, "created") or event.get("created"), "created"),
        oddities=tuple(fields.oddities),
    )


def _row_count(fields: Fields, result: Mapping[str, Any], name: str) -> int | None:
    counter = fields.mapping(result.get(name), f"result.{name}")
    return fields.count(_first(counter, "row_count", "count"), f"result.{name}.row_count")


def _first(fields: Mapping[str, Any], *names: str) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _import_set_id(fields: Fields, subject: Mapping[str, Any]) -> str | None:
    found = fields.text(subject.get("id"), "data.object.id")
    if found is None:
        fields.note("the import set has no id")
    return found


def _status(fields: Fields, stripe_status: str | None, event_type: object, *, refused_some: bool) -> ImportStatus:
    """Choose the branch; where status, type and counts disagree, the one that loses no record."""
    if stripe_status is None:
        fields.note("the import set has no status; its event's type and its counts stand in")
        if event_type == EventType.IMPORT_SET_FAILED:
            return ImportStatus.FAILED
    if stripe_status == ImportStatus.FAILED:
        return ImportStatus.FAILED
    if refused_some:
        if stripe_status not in {ImportStatus.SUCCEEDED_WITH_ERRORS, None}:
            fields.note(f"the status is {stripe_status}, yet records were refused")
        return ImportStatus.SUCCEEDED_WITH_ERRORS
    if stripe_status == ImportStatus.SUCCEEDED_WITH_ERRORS:
        fields.note("records were refused, but neither their number nor their file is named")
        return ImportStatus.SUCCEEDED_WITH_ERRORS
    return ImportStatus.SUCCEEDED if stripe_status == ImportStatus.SUCCEEDED else ImportStatus.OTHER


def _failed_reason(fields: Fields, *places: Mapping[str, Any]) -> str | None:
    reasons = (fields.text(place.get("failed_reason"), "failed_reason") for place in places)
    return next((reason for reason in reasons if reason), None)


def _source_names(fields: Fields, subject: Mapping[str, Any]) -> Iterator[str]:
    """Yield the base names under which the imported file may be found."""
    for holder in (subject, subject.get("file"), subject.get("source")):
        named = [holder.get(name) for name in _NAME_FIELDS] if isinstance(holder, Mapping) else []
        for text in (fields.text(name, "the file's name") for name in named):
            if text:
                yield PurePosixPath(text.replace("\\", "/")).name
