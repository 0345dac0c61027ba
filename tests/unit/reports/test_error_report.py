"""Reading validation reports: counts, samples of both shapes, and every oddity said."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from tests.unit.reports.any_json import any_json, with_something_odd
from workers.kernel.errors import Permanent
from workers.reports.error_report import CodeErrors, ErrorReport, Sample, read

METER = {"id": "mtr_1", "object": "billing.meter", "event_name": "ai_search_api"}
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "v2.core.event",
    "type": "v1.billing.meter.error_report_triggered",
    "created": "2026-11-17T06:20:52.246Z",
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    "data": {
        "developer_message_summary": "There are 4 invalid events",
        "reason": {
            "error_count": 4,
            "error_types": [
                {
                    "code": "meter_event_customer_not_found",
                    "error_count": 3,
                    "sample_errors": [
                        {"error_message": "Customer cus_1 not found.", "request": {"identifier": "id-1"}},
                        {"error_message": "Customer cus_2 not found.", "request": {"identifier": "id-2"}},
                    ],
                },
                {
                    "code": "meter_event_no_customer_defined",
                    "error_count": 1,
                    "sample_errors": [
                        {"error_message": "No customer.", "request": {"id": "", "idempotency_key": "id-3"}}
                    ],
                },
            ],
        },
        "validation_start": "2026-11-17T06:20:40.000Z",
        "validation_end": "2026-11-17T06:20:50.000Z",
    },
}


def event(*error_types: Any, total: Any = None) -> dict[str, Any]:
    changed = deepcopy(EVENT)
    changed["data"]["reason"] = {"error_count": total, "error_types": list(error_types)}
    return changed


def error_type(code: str = "archived_meter", count: Any = 1, samples: Any = ()) -> dict[str, Any]:
    return {"code": code, "error_count": count, "sample_errors": list(samples)}


def test_a_report_is_read_whole() -> None:
    assert read(EVENT, METER) == ErrorReport(
        event_id="evt_1",
        meter_id="mtr_1",
        event_name="ai_search_api",
        window_start=datetime(2026, 11, 17, 6, 20, 40, tzinfo=UTC),
        window_end=datetime(2026, 11, 17, 6, 20, 50, tzinfo=UTC),
        summary="There are 4 invalid events",
        error_count=4,
        errors=(
            CodeErrors(
                "meter_event_customer_not_found",
                3,
                (
                    Sample("id-1", "Customer cus_1 not found.", None),
                    Sample("id-2", "Customer cus_2 not found.", None),
                ),
            ),
            CodeErrors("meter_event_no_customer_defined", 1, (Sample("id-3", "No customer.", None),)),
        ),
        oddities=(),
    )


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("No meter was found matching event_name tokens_used.", "tokens_used"),
        ("No meter was found matching event_name v1.tokens.", "v1.tokens"),
        ("No meter was found matching event_name with blanks .", "with blanks "),
        ("Some new wording", None),
        (None, None),
    ],
)
def test_the_event_name_is_recovered_from_the_no_meter_text(message: str | None, name: str | None) -> None:
    sample = {"error_message": message, "request": {"identifier": "id-1"}}
    changed = event(error_type("no_meter", 1, [sample])) | {"related_object": {}}
    report = read(changed)
    assert report.errors[0].samples == (Sample("id-1", message, name),)
    assert report.meter_id is None


@pytest.mark.parametrize("related", [None, {}, {"id": None}])
def test_a_report_without_a_meter_is_read(related: object) -> None:
    report = read(EVENT | {"related_object": related})
    assert report.meter_id is None
    assert report.oddities == ()


def test_an_unknown_code_is_kept() -> None:
    report = read(event(error_type("meter_event_on_the_moon", 2), total=2))
    assert [(errors.code, errors.error_count) for errors in report.errors] == [("meter_event_on_the_moon", 2)]


@pytest.mark.parametrize(
    ("changed", "oddity"),
    [
        (event(error_type(count=2), total=3), "the report counts 3 records, its codes 2"),
        (event(error_type(count=None)), "archived_meter has no error_count"),
        (event(error_type(count=-1)), "error_types[0].error_count is no count"),
        (event(error_type(count=True)), "error_types[0].error_count is no count"),
        (event(error_type(), error_type()), "archived_meter stands twice"),
        (event({"error_count": 1}), "error_types[0] has no code"),
        (event("x"), "error_types[0] is text, not an object"),
        (event(), "the event names no code"),
        (EVENT | {"data": None}, "the event has no data: it was not fetched, or it is empty"),
        (EVENT | {"related_object": {"id": "mtr_2"}}, "the event is about mtr_2, but the meter at hand is mtr_1"),
        (
            event(error_type(samples=[{"request": {}}])),
            "archived_meter has a sample without an identifier",
        ),
        (
            event(error_type(samples=[{"request": {"identifier": name}} for name in "ab"])),
            "archived_meter counts 1 records, but samples 2",
        ),
        (
            event(error_type(samples=[{"request": {"identifier": "a\0b\ud800"}}])),
            "error_types[0].sample_errors.request holds characters that are no text",
        ),
    ],
)
def test_what_is_odd_is_said(changed: dict[str, Any], oddity: str) -> None:
    """A report that is read half and says nothing loses the other half."""
    assert oddity in read(changed, METER).oddities


def test_a_code_that_stands_twice_counts_once_with_all_its_records() -> None:
    report = read(event(error_type(count=2), error_type(count=3), total=5))
    assert [(errors.code, errors.error_count) for errors in report.errors] == [("archived_meter", 5)]
    assert report.error_count == 5


def test_a_missing_total_is_the_sum_of_its_codes() -> None:
    assert read(event(error_type(count=2), error_type("no_meter", 3))).error_count == 5
    assert read(event(error_type(count=None))).error_count is None
    assert read(event()).error_count is None


A, B, NAMELESS = ({"request": {"identifier": name}} for name in ("a", "b", None))


@pytest.mark.parametrize(
    ("error_types", "total", "told"),
    [
        ([error_type("x", 2)], 50, {"x": 50}),
        ([error_type("x", 2)], 1, {"x": 2}),
        ([error_type("x", 1, [A, B])], None, {"x": 2}),
        ([error_type("x", 0, [A])], 0, {"x": 1}),
        ([error_type("x", 0)], 0, {"x": 0}),
        ([error_type("x", None)], None, {"x": 1}),
        ([error_type("x", None, [NAMELESS, NAMELESS])], None, {"x": 2}),
        ([error_type("x", None, [A, A, NAMELESS, None])], None, {"x": 3}),
        ([error_type("x", None, [A])], 9, {"x": 9}),
        ([error_type("x", "many")], 3, {"x": 3}),
        ([error_type("x", 2), error_type("y", 3)], 9, {"x": 2, "y": 3, "unknown": 4}),
        ([error_type("x", 2), error_type("y", None, [A])], 9, {"x": 2, "y": 7}),
        ([error_type("x", None), error_type("y", None, [A])], 9, {"x": 1, "y": 1, "unknown": 7}),
        ([error_type("x", 3), error_type("x", None, [A])], None, {"x": 4}),
        ([error_type("x", 2), {"error_count": 3}], 9, {"x": 2, "unknown": 7}),
        ([None], 2, {"unknown": 2}),
        ([None, "x", []], None, {"unknown": 3}),
        ([], 2, {"unknown": 2}),
        ([], None, {}),
        ([], 0, {}),
    ],
)
def test_no_refusal_that_is_told_in_any_place_goes_uncounted(
    error_types: list[Any], total: int | None, told: dict[str, int]
) -> None:
    """Nobody would look for usage that was refused and stands in no journal: it is never invoiced."""
    assert {errors.code: errors.told for errors in read(event(*error_types, total=total)).errors} == told


@given(with_something_odd(EVENT))
def test_at_least_what_is_told_is_counted_whatever_is_odd(changed: Any) -> None:
    report = read(changed, METER)
    assert sum(errors.told for errors in report.errors) >= (report.error_count or 0)


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        -62_135_596_800,
        253_402_300_799,
        10**30,
    ],
)
def test_a_time_that_cannot_be_reckoned_with_is_none(moment: Any) -> None:
    """A day before the first of all times is none: the whole report would be tried again and given up."""
    report = read(EVENT | {"data": EVENT["data"] | {"validation_start": moment}})
    assert (report.window_start, report.oddities) == (None, ("data.validation_start is no time",))


@pytest.mark.parametrize("event", [None, [], "x", 1])
def test_what_is_no_event_is_permanent(event: Any) -> None:
    with pytest.raises(Permanent):
        read(event)


@given(any_json(), any_json())
def test_any_json_is_read_or_refused_in_our_own_words(event: Any, meter: Any) -> None:
    try:
        report = read(event, meter)
    except Permanent:
        return
    assert isinstance(report, ErrorReport)


@given(with_something_odd(EVENT))
def test_one_odd_field_hides_no_other_code(changed: Any) -> None:
    report = read(changed, METER)
    assert report.errors or report.oddities
