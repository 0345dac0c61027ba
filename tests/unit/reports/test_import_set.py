"""Reading import-set events: whatever the shape, no refused record may be overlooked."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.reports.any_json import any_json, with_something_odd
from workers.kernel.errors import Permanent
from workers.reports.import_set import ImportSetReport, ImportStatus, read

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "data_management.import_set.succeeded",
    "data": {
        "object": {
            "id": "impset_test_1",
            "object": "data_management.import_set",
            "created": 1_790_000_000,
            "status": "succeeded_with_errors",
            "failed_reason": None,
            "file": "file_original",
            "result": {
                "rows_processed": 21,
                "objects_created": 16,
                "successes": {"row_count": 16},
                "errors": {"row_count": 5, "file": "file_failed"},
            },
        }
    },
}


def event(**changes: Any) -> dict[str, Any]:
    changed = deepcopy(EVENT)
    changed["data"]["object"].update(changes)
    return changed


def test_a_partly_refused_file_names_its_failed_records() -> None:
    assert read(EVENT) == ImportSetReport(
        event_id="evt_1",
        import_set_id="impset_test_1",
        status=ImportStatus.SUCCEEDED_WITH_ERRORS,
        failed_reason=None,
        error_file_id="file_failed",
        error_count=5,
        rows_processed=21,
        success_count=16,
        created_count=16,
        duplicate_count=None,
        filtered_count=None,
        source_file_id="file_original",
        source_names=(),
        template=None,
        created=datetime.fromtimestamp(1_790_000_000, UTC),
        oddities=(),
    )


@pytest.mark.parametrize(
    "errors",
    [
        {"row_count": 5, "file": "file_failed"},
        {"count": 5, "file_id": "file_failed"},
        {"row_count": "5", "file": {"id": "file_failed", "object": "file"}},
        {"row_count": None, "count": 5, "file": None, "file_id": {"id": "file_failed"}},
    ],
)
def test_every_known_place_of_the_failed_records_file_is_read(errors: dict[str, Any]) -> None:
    report = read(event(result={"errors": errors}))
    assert (report.error_file_id, report.error_count, report.oddities) == ("file_failed", 5, ())


@pytest.mark.parametrize("result", [None, [], {}])
def test_an_import_without_a_result_is_read(result: object) -> None:
    report = read(event(status="succeeded", result=result))
    assert (report.status, report.error_file_id, report.oddities) == (ImportStatus.SUCCEEDED, None, ())


@pytest.mark.parametrize(
    ("status", "branch"),
    [
        ("failed", ImportStatus.FAILED),
        ("succeeded", ImportStatus.SUCCEEDED),
        ("pending", ImportStatus.OTHER),
        ("archived", ImportStatus.OTHER),
        ("quite new", ImportStatus.OTHER),
    ],
)
def test_the_status_chooses_the_branch(status: str, branch: ImportStatus) -> None:
    assert read(event(status=status, result=None)).status is branch


@pytest.mark.parametrize("status", ["succeeded", "pending_archive", "quite new"])
def test_refused_records_count_whatever_the_status_says(status: str) -> None:
    """Taking the word 'succeeded' for it would lose the refused records for good."""
    report = read(event(status=status))
    assert report.status is ImportStatus.SUCCEEDED_WITH_ERRORS
    assert report.oddities == (f"the status is {status}, yet records were refused",)


def test_a_refusal_without_number_or_file_is_odd() -> None:
    report = read(event(result={}))
    assert report.status is ImportStatus.SUCCEEDED_WITH_ERRORS
    assert "neither their number nor their file" in report.oddities[0]


def test_without_a_status_the_type_tells_that_the_whole_file_failed() -> None:
    changed = event(status=None, result=None)
    changed["type"] = "data_management.import_set.failed"
    assert read(changed).status is ImportStatus.FAILED
    assert read(event(status=None)).status is ImportStatus.SUCCEEDED_WITH_ERRORS
    assert read(event(status=None, result=None)).status is ImportStatus.OTHER


def test_the_reason_is_found_at_the_object_and_at_the_event() -> None:
    assert read(event(status="failed", failed_reason="no event_name")).failed_reason == "no event_name"
    at_event = event(status="failed") | {"failed_reason": "no event_name"}
    assert read(at_event).failed_reason == "no event_name"


def test_the_imported_file_is_named_in_any_way() -> None:
    report = read(event(file={"id": "file_1", "filename": "in/march.csv"}, source={"key": "in\\april.csv"}))
    assert report.source_file_id == "file_1"
    assert report.source_names == ("march.csv", "april.csv")


def test_a_foreign_import_says_its_template() -> None:
    assert read(event(standard_data_format="product_catalog_feed")).template == "product_catalog_feed"


@pytest.mark.parametrize("event", [{}, {"data": None}, {"data": {"object": []}}, {"data": {"object": "x"}}, []])
def test_an_event_without_an_import_set_is_permanent(event: Any) -> None:
    with pytest.raises(Permanent):
        read(event)


@given(any_json())
def test_any_json_is_read_or_refused_in_our_own_words(event: Any) -> None:
    """An unexpected shape that crashes the job is an event that nobody ever looks at."""
    try:
        report = read(event)
    except Permanent:
        return
    assert isinstance(report, ImportSetReport)


@given(with_something_odd(EVENT), st.data())
def test_an_odd_field_never_hides_the_rest(event: Any, data: Any) -> None:
    try:
        report = read(event)
    except Permanent:
        return
    assert report.status in ImportStatus
    "".join(filter(None, (report.failed_reason, report.import_set_id, *report.source_names))).encode()
