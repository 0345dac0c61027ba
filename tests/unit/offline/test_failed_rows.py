"""Failed-records files that tell one row several times: what was one row is billed once, and nothing is dropped."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.remedies.frames import CATALOG, EPOCH_NOW, NOW
from workers.offline.repair_files import PlanSummary, plan_file
from workers.offline.survey import PlanOptions
from workers.remedies import Rules

HEADER = ["row", "identifier", "timestamp", "event_name", "payload_stripe_customer_id", "payload_value"]
ERRORS = ["error_code", "error_message"]
TIME = "2026-11-21T11:00:00Z"
"""Refused for its form, and read without doubt: what is told once is repaired."""
BAD_TIME = "timestamp: must be seconds since the Unix epoch"
BAD_VALUE = "payload_value: must be a number"

Row = Mapping[str, str]


def told(row: str, value: str = " 12 ", *, message: str = BAD_TIME, **cells: str) -> dict[str, str]:
    """Return a row of a failed-records file."""
    return {
        "row": row,
        "identifier": "",
        "timestamp": TIME,
        "event_name": "api_calls",
        "payload_stripe_customer_id": "cus_known",
        "payload_value": value,
        "error_code": "",
        "error_message": message,
        **cells,
    }


def write_failed(path: Path, rows: Sequence[Row], columns: Sequence[str] = (*HEADER, *ERRORS)) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def repair(folder: Path, *paths: Path, part_bytes: int = 1 << 20) -> PlanSummary:
    options = PlanOptions(part_bytes=part_bytes)
    return plan_file(paths, catalog=CATALOG, rules=Rules(), now=NOW, out=folder / "out", options=options)


def rows_in(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / "out" / name
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def sent(folder: Path) -> list[str]:
    return [row["payload_value"] for row in rows_in(folder, "corrected.csv")]


def test_a_row_that_is_told_once_for_each_error_is_billed_once(tmp_path: Path) -> None:
    """12 + 3 units were used; told twice, the 12 would be billed twice."""
    rows = [told("4"), told("4", message=BAD_VALUE), told("9", "3")]
    summary = repair(tmp_path, write_failed(tmp_path / "failed.csv", rows))
    corrected = rows_in(tmp_path, "corrected.csv")
    assert [row["payload_value"] for row in corrected] == ["12", "3"]
    assert [row["identifier"].rpartition("-")[2] for row in corrected] == ["4", "9"], "the original's row numbers"
    assert summary.as_json()["records"] == summary.as_json()["repaired"] == 2
    assert "told_again" in {finding.slug for finding in summary.surveys[0].findings}


def test_a_record_that_waits_shows_all_its_errors(tmp_path: Path) -> None:
    """Who mends the one that is named has the record refused once more for the other, a day later."""
    coded = {"error_code": "meter_event_invalid_value"}
    rows = [told("4", "1,234"), told("4", "1,234", message=BAD_VALUE, **coded)]
    repair(tmp_path, write_failed(tmp_path / "failed.csv", rows))
    (kept,) = rows_in(tmp_path, "quarantine.csv")
    assert kept["error_message"] == f"{BAD_TIME}; {BAD_VALUE}"
    assert kept["error_code"] == "malformed_record,meter_event_invalid_value"
    assert kept["faults"] == "meter_event_invalid_value, timestamp_malformed"
    assert (kept["source"], kept["metermend_row"]) == ("failed.csv", "1")


def test_every_code_of_a_record_has_to_be_answered(tmp_path: Path) -> None:
    """The value is mended, but Stripe named the customer too, in whom nothing shows: it would be refused again."""
    refused = {"timestamp": str(EPOCH_NOW - 60)}
    rows = [
        told("4", **refused, error_code="meter_event_invalid_value"),
        told("4", **refused, error_code="meter_event_customer_not_found"),
        told("5", **refused, error_code="meter_event_invalid_value"),
        told("6", **refused, error_code="meter_event_invalid_value"),
        told("6", **refused, error_code="a_code_of_tomorrow"),
    ]
    repair(tmp_path, write_failed(tmp_path / "failed.csv", rows))
    assert len(sent(tmp_path)) == 1
    reasons = {row["row"]: row["reason"] for row in rows_in(tmp_path, "quarantine.csv")}
    assert reasons == {"4": "no_fault_found", "6": "unknown_code"}


ONE_RECORD: Mapping[str, Sequence[Row]] = {
    "one row, two errors": [told("4"), told("4", message=BAD_VALUE)],
    "three errors": [told("4"), told("4", message="b"), told("4", message="c")],
    "the same error twice": [told("4"), told("4")],
    "far apart": [told("4"), told("5", "7"), told("6", "8"), told("4", message=BAD_VALUE)],
    "numbers written differently": [told("4"), told(" 04 ", message=BAD_VALUE)],
    "numbers as a spreadsheet writes them": [told("4"), told("4.0", message=BAD_VALUE)],
    "numbers with a word": [told("row 4"), told("Row 4", message=BAD_VALUE)],
    "with an identifier": [told("4", identifier="a"), told("4", identifier="a", message=BAD_VALUE)],
    "no number, an identifier": [told("", identifier="a"), told("", identifier="a", message=BAD_VALUE)],
    "one number is missing": [told("", "7"), told("4"), told("4", message=BAD_VALUE)],
}


@pytest.mark.parametrize("rows", ONE_RECORD.values(), ids=ONE_RECORD.keys())
def test_rows_of_one_record_are_sent_once(tmp_path: Path, rows: Sequence[Row]) -> None:
    repair(tmp_path, write_failed(tmp_path / "failed.csv", rows), part_bytes=1)
    assert sent(tmp_path).count("12") == 1
    assert len(sent(tmp_path)) == len({row["payload_value"] for row in rows})
    assert rows_in(tmp_path, "quarantine.csv") == []


WAITING: Mapping[str, tuple[Sequence[Row], int, str]] = {
    "equal rows, no numbers": ([told(""), told("")], 1, "told_twice"),
    "equal rows, two errors": ([told(""), told("", message=BAD_VALUE)], 1, "told_twice"),
    "equal three times": ([told("")] * 3, 1, "told_twice"),
    "numbers that are none": ([told("n/a"), told("n/a", message=BAD_VALUE)], 1, "told_twice"),
    "one of them numbered": ([told("4"), told("")], 1, "told_twice"),
    "a blank identifier": ([told("", identifier=" "), told("", identifier=" ")], 1, "told_twice"),
    "one number, two quantities": ([told("4"), told("4", "7")], 0, "row_contradicted"),
    "one number, two times": ([told("4"), told("4", timestamp="2026-11-21T11:00:01Z")], 0, "row_contradicted"),
    "one number, two identifiers": (
        [told("4", identifier="a"), told("4", identifier="b")],
        0,
        "row_contradicted",
    ),
    "two alike, one different": ([told("4"), told("4", "7"), told("4")], 0, "row_contradicted"),
    "one with an identifier": ([told("4"), told("4", identifier="b")], 0, "row_contradicted"),
    "blank cells the second time": (
        [told("4"), told("4", "", timestamp="", event_name="api_calls")],
        0,
        "row_contradicted",
    ),
}


@pytest.mark.parametrize(("rows", "count", "reason"), WAITING.values(), ids=WAITING.keys())
def test_what_may_be_one_row_told_twice_waits_for_a_person(
    tmp_path: Path, rows: Sequence[Row], count: int, reason: str
) -> None:
    """Sent, it may be billed twice, or wrong; who looks into the original knows."""
    repair(tmp_path, write_failed(tmp_path / "failed.csv", rows), part_bytes=1)
    assert len(sent(tmp_path)) == count
    kept = rows_in(tmp_path, "quarantine.csv")
    assert [row["reason"] for row in kept] == [reason] * (len(rows) - count)
    assert all(row["suggestion"] for row in kept)


def test_two_rows_of_the_original_that_are_equal_are_both_billed(tmp_path: Path) -> None:
    """Their numbers differ: the sender wrote two records, and each counts."""
    repair(tmp_path, write_failed(tmp_path / "failed.csv", [told("4"), told("9")]))
    corrected = rows_in(tmp_path, "corrected.csv")
    assert [row["payload_value"] for row in corrected] == ["12", "12"]
    assert len({row["identifier"] for row in corrected}) == 2


def test_a_file_without_a_column_of_rows_is_looked_through_all_the_same(tmp_path: Path) -> None:
    columns = [*HEADER[1:], *ERRORS]
    path = write_failed(tmp_path / "failed.csv", [told(""), told("", message=BAD_VALUE), told("", "3")], columns)
    repair(tmp_path, path)
    assert sent(tmp_path) == ["12", "3"]
    assert [row["reason"] for row in rows_in(tmp_path, "quarantine.csv")] == ["told_twice"]


def test_a_list_that_was_downloaded_twice_is_sent_once(tmp_path: Path) -> None:
    """Not a copy byte for byte: Stripe may order the errors otherwise each time."""
    rows = [told("4"), told("9", "3")]
    first = write_failed(tmp_path / "first.csv", rows)
    second = write_failed(tmp_path / "second.csv", rows[::-1])
    repair(tmp_path, first, second)
    assert sorted(sent(tmp_path)) == ["12", "3"]
    assert [row["reason"] for row in rows_in(tmp_path, "quarantine.csv")] == ["told_twice"] * 2


def test_a_usage_file_may_hold_equal_rows(tmp_path: Path) -> None:
    """Nobody has told its rows twice: two equal ones are two, as Stripe would count them."""
    columns = HEADER[1:]
    path = write_failed(tmp_path / "usage.csv", [told("", timestamp=str(EPOCH_NOW - 60))] * 2, columns)
    repair(tmp_path, path)
    assert sent(tmp_path) == ["12", "12"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tellings=st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc")), min_size=1, max_size=12),
    part_bytes=st.integers(1, 400),
)
def test_however_often_rows_are_told_each_is_sent_once_under_its_own_number(
    tmp_path: Path, tellings: Sequence[tuple[int, str]], part_bytes: int
) -> None:
    """Each row's quantity is its number: billed is the sum over the original's rows, whatever the list repeats."""
    rows = [told(str(row), f" {row} ", message=message) for row, message in tellings]
    summary = repair(tmp_path, write_failed(tmp_path / "failed.csv", rows), part_bytes=part_bytes)
    numbers = list(dict.fromkeys(row for row, _ in tellings))
    corrected = rows_in(tmp_path, "corrected.csv")
    assert [int(row["payload_value"]) for row in corrected] == numbers
    assert [int(row["identifier"].rpartition("-")[2]) for row in corrected] == numbers
    assert summary.outcomes.total == len(numbers)
