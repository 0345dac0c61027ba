"""A file may lack any of the columns: Stripe makes identifiers of its own, and any other gap is a finding."""

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pytest

from tests.unit.cli.usage import NOW, run

RECORD = {
    "identifier": "a1",
    "timestamp": "1795262300",
    "event_name": "api_calls",
    "payload_stripe_customer_id": "cus_1",
    "payload_value": "5",
}
SOME_COLUMNS = [columns for count in range(1, 6) for columns in combinations(RECORD, count)]


def written(folder: Path, suffix: str, columns: Sequence[str], rows: int) -> Path:
    record = {name: RECORD[name] for name in columns}
    text = {
        "csv": "\n".join([",".join(columns), *[",".join(record.values())] * rows]),
        "json": json.dumps([record] * rows),
        "jsonl": "".join(json.dumps(record) + "\n" for _ in range(rows)),
    }
    path = folder / f"usage.{suffix}"
    path.write_text(text[suffix])
    return path


def checked(usage: Path) -> tuple[set[str], Mapping[str, object]]:
    document = json.loads(run("check", usage, "--json", "--now", NOW).stdout)
    (file,) = document["files"].values()
    return {finding["slug"] for finding in file["findings"]}, document


@pytest.mark.parametrize(("suffix", "at_least"), [("csv", 1), ("json", 4), ("jsonl", 4)])
def test_whatever_column_is_absent_the_records_are_counted_and_the_gap_is_said(
    tmp_path: Path, suffix: str, at_least: int
) -> None:
    for columns in [some for some in SOME_COLUMNS if len(some) >= at_least]:
        findings, document = checked(written(tmp_path, suffix, columns, rows=1))
        assert document["records"] == 1, columns
        assert ("missing_identifiers" in findings) == ("identifier" not in columns), columns
        assert document["valid"] == int(set(columns) >= set(RECORD) - {"identifier"}), columns


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_a_gap_is_said_too_where_a_meter_keeps_one_value_of_each_window(tmp_path: Path, suffix: str) -> None:
    """The columns that tell a record's window may be absent as well: the check of such an account would crash."""
    meters = tmp_path / "meters.json"
    meters.write_text(json.dumps([{"event_name": "api_calls", "status": "active", "event_time_window": "hour"}]))
    usage = written(tmp_path, suffix, ["identifier", "timestamp", "event_name"], rows=2)
    result = run("check", usage, "--json", "--now", NOW, "--meters", meters)
    assert result.exit_code == 0, result.stderr
    assert "meter_event_no_customer_defined" in json.loads(result.stdout)["by_code"]


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_without_an_identifier_column_every_record_still_gets_its_own(tmp_path: Path, suffix: str) -> None:
    """Two records under one identifier would be counted once; a record without one could be sent twice."""
    columns = [name for name in RECORD if name != "identifier"]
    usage = written(tmp_path, suffix, columns, rows=2)
    assert run("repair", usage, "--out", tmp_path / "out", "--now", NOW).exit_code == 0
    with (tmp_path / "out" / "corrected.csv").open() as corrected:
        identifiers = [row["identifier"] for row in csv.DictReader(corrected)]
    assert len(set(identifiers)) == 2
    assert all(identifier.startswith("mm-") for identifier in identifiers)


def test_odd_rows_without_an_identifier_column_are_kept_with_their_numbers(tmp_path: Path) -> None:
    usage = tmp_path / "usage.csv"
    usage.write_text('Timestamp,Event Name,Customer,Value\n1795262300,api_calls,"cus_\n1",5\none,field\n\n')
    _, document = checked(usage)
    assert (document["records"], document["quarantined"]) == (2, 2)


@pytest.mark.parametrize("suffix", ["csv", "json"])
@pytest.mark.parametrize("columns", [("identifier",), ("timestamp", "payload_value"), tuple(RECORD)])
def test_a_file_without_records_has_nothing_to_repair(tmp_path: Path, suffix: str, columns: Sequence[str]) -> None:
    usage = written(tmp_path, suffix, columns, rows=0)
    _, document = checked(usage)
    assert document["records"] == 0
    assert run("repair", usage, "--out", tmp_path / "out", "--now", NOW).exit_code == 0
    assert not (tmp_path / "out" / "corrected.csv").exists()
