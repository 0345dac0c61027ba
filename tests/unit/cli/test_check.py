"""`metermend check`, before an upload: what it overlooks, Stripe refuses later and asynchronously."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.usage import NOW, USAGE, company, run, told
from workers.cli.plan_view import row_ranges


def test_every_fault_is_shown_with_its_rows(tmp_path: Path) -> None:
    usage = company(tmp_path)
    result = run("check", usage, *told(usage))
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert lines["meter_event_invalid_value"] == ["2", "2-3"]
    assert lines["timestamp_in_future"] == ["2", "2,", "4"]
    assert "Stripe would refuse 3 of 4 records" in result.stdout


def test_json_lists_faults_and_findings_by_file(tmp_path: Path) -> None:
    usage = company(tmp_path, USAGE + ",1795262300,api_calls,cus_1,1\na1,1795262300,api_calls,cus_1,1\n")
    document = json.loads(run("check", usage, "--json", *told(usage)).stdout)
    assert set(document) == {
        "records",
        "valid",
        "repaired",
        "deferred",
        "quarantined",
        "by_code",
        "quantity",
        "files",
    }
    (found,) = document["files"].values()
    assert {"fault": "meter_event_invalid_value", "records": 2, "rows": [2, 3]} in found["faults"]
    assert {"missing_identifiers", "repeated_identifiers"} <= {finding["slug"] for finding in found["findings"]}


def test_nothing_is_written(tmp_path: Path) -> None:
    usage = company(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run("check", usage, *told(usage))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("a1,1795262300,api_calls,cus_1,5\n", 0),
        ("a1,1795262300,api_calls,cus_1,x\n", 1),
        (",1795262300,api_calls,cus_1,5\n", 1),
    ],
)
def test_strict_exits_with_1_when_anything_is_found(tmp_path: Path, lines: str, code: int) -> None:
    usage = company(tmp_path, USAGE.splitlines()[0] + "\n" + lines)
    assert run("check", usage, "--strict", *told(usage)).exit_code == code
    assert run("check", usage, *told(usage)).exit_code == 0


def test_a_file_for_s3_may_be_larger_than_the_dashboard_takes(tmp_path: Path) -> None:
    """A build that checks S3 files must not fail for a limit of the Dashboard."""
    rows = "".join(f"a{row},1795262300,api_calls,cus_1,5\n" for row in range(160_000))
    usage = company(tmp_path, USAGE.splitlines()[0] + "\n" + rows)
    assert run("check", usage, "--strict", *told(usage)).exit_code == 0
    assert run("check", usage, "--strict", "--dashboard", *told(usage)).exit_code == 1


def test_unusable_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = run("check", tmp_path / "nowhere.csv", "--now", NOW)
    assert result.exit_code == 2
    assert "nowhere.csv" in result.stderr
    assert result.stderr.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("rows", "records", "text"),
    [
        ([3], 1, "3"),
        ([3, 4, 5, 9], 4, "3-5, 9"),
        ([1, 3, 5, 7, 9, 11, 13], 7, "1, 3, 5, 7, 9, 11 and 1 more"),
        (list(range(1, 1001)), 5000, "1-1000 and 4,000 more"),
    ],
)
def test_rows_are_shown_as_ranges(rows: list[int], records: int, text: str) -> None:
    assert row_ranges(rows, records) == text
