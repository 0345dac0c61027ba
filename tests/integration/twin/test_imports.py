"""The connector: what it takes from a bucket, what it refuses, and how it says so."""

import csv as csv_module
import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from fixtures.twin import Twin
from tests.integration.storage.moto_s3 import BUCKET, moto_s3
from tests.integration.twin.usage import as_json, csv, line

LINES = (line("a", "5"), line("b", "0.25"), line("c", at="yesterday"))
FILES = {
    "csv": csv(*LINES),
    "json": json.dumps(as_json(*LINES)),
    "jsonl": "\n".join(json.dumps(record) for record in as_json(*LINES)),
}


def _contents(twin: Twin, http: requests.Session, file: str) -> str:
    return http.get(f"{twin.url}/v1/files/{file}/contents", timeout=5).text


def _records(text: str, shape: str) -> list[dict[str, Any]]:
    if shape == "csv":
        return list(csv_module.DictReader(io.StringIO(text)))
    if shape == "jsonl":
        return [json.loads(line) for line in text.splitlines()]
    records: list[dict[str, Any]] = json.loads(text)
    return records


def _events(twin: Twin, prefix: str) -> list[dict[str, Any]]:
    return [event.body for event in twin.events() if event.type.startswith(prefix)]


@pytest.mark.parametrize("shape", FILES)
def test_each_shape_is_imported_and_its_bad_rows_come_back_in_the_same_shape(
    twin: Twin, bucket: Path, http: requests.Session, shape: str
) -> None:
    (bucket / f"usage.{shape}").write_text(FILES[shape])
    [import_set] = twin.poll()
    assert import_set["status"] == "succeeded_with_errors"
    assert import_set["result"]["rows_processed"] == 3
    assert import_set["result"]["errors"]["row_count"] == 1
    assert [(line["total"], line["records"]) for line in twin.billed()] == [("5.25", 2)]

    assert _contents(twin, http, import_set["file"]) == FILES[shape]
    failed = _contents(twin, http, import_set["result"]["errors"]["file"])
    [record] = _records(failed, shape)
    assert (record["identifier"], str(record["row"])) == ("c", "3")
    assert record["error_message"] == "Invalid timestamp: yesterday. Expected epoch seconds."


def test_the_event_tells_of_the_import_set_and_names_the_file_by_its_key(twin: Twin, bucket: Path) -> None:
    (bucket / "usage-17.csv").write_text(FILES["csv"])
    [import_set] = twin.poll()
    [event] = _events(twin, "data_management")
    assert event["type"] == "data_management.import_set.succeeded"
    assert event["data"]["object"] == import_set
    assert twin.account().files[import_set["file"]]["filename"] == "usage-17.csv"


def test_the_columns_and_the_format_of_the_failed_records_are_set(
    twin: Twin, bucket: Path, http: requests.Session
) -> None:
    twin.configure(error_format="csv", error_column="reason", error_row_column="", error_original_columns=False)
    (bucket / "usage.jsonl").write_text(FILES["jsonl"])
    [import_set] = twin.poll()
    text = _contents(twin, http, import_set["result"]["errors"]["file"])
    assert text == "reason\nInvalid timestamp: yesterday. Expected epoch seconds.\n"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("usage.txt", csv(line("a")), "Unsupported file extension: txt."),
        ("usage.csv", "", "The file is empty."),
        ("usage.csv", "identifier,timestamp\na,1\n", "The mandatory column event_name is missing."),
        ("usage.json", "[]", "The file has no records."),
        ("u" * 251 + ".csv", csv(line("a")), "The file name must be shorter than 255 characters."),
    ],
    ids=["extension", "empty", "header", "no records", "long name"],
)
def test_a_file_that_is_wrong_as_a_whole_fails_with_its_reason_and_bills_nothing(
    twin: Twin, bucket: Path, name: str, text: str, reason: str
) -> None:
    (bucket / name).write_text(text)
    [import_set] = twin.poll()
    assert (import_set["status"], import_set["failed_reason"]) == ("failed", reason)
    assert [event["type"] for event in _events(twin, "data_")] == ["data_management.import_set.failed"]
    assert twin.billed() == []


def test_a_fault_in_the_last_line_refuses_the_file_before_its_first_row(twin: Twin, bucket: Path) -> None:
    """Half an imported file would be billed twice when it is sent again."""
    (bucket / "usage.json").write_text(FILES["json"][:-1])
    assert twin.poll()[0]["status"] == "failed"
    assert twin.billed() == []


def test_a_version_is_imported_once_and_a_rewritten_key_again(twin: Twin, bucket: Path) -> None:
    path = bucket / "usage.csv"
    path.write_text(csv(line("a")))
    assert len(twin.poll()) == 1
    assert twin.poll() == []
    path.write_text(csv(line("a"), line("b")))
    [again] = twin.poll()
    assert again["result"]["skipped_duplicates"] == {"row_count": 1}
    assert twin.billed()[0]["records"] == 2


def test_only_the_folder_itself_is_read_and_the_oldest_file_first(twin: Twin, bucket: Path) -> None:
    (bucket / "inner").mkdir()
    (bucket / "inner" / "usage.csv").write_text(csv(line("inner")))
    (bucket / ".usage.csv.part").write_text(csv(line("part")))
    for age, name in enumerate(["new.csv", "older.csv", "oldest.csv"]):
        (bucket / name).write_text(csv(line(name)))
        os.utime(bucket / name, (1_790_000_000 - age, 1_790_000_000 - age))
    files = [twin.account().files[import_set["file"]]["filename"] for import_set in twin.poll()]
    assert files == ["oldest.csv", "older.csv", "new.csv"]


def test_what_is_older_than_90_days_is_left_alone(twin: Twin, bucket: Path) -> None:
    (bucket / "usage.csv").write_text(csv(line("a")))
    os.utime(bucket / "usage.csv", (1, 1))
    assert twin.poll() == []


def test_a_clean_import_may_stay_silent(twin: Twin, bucket: Path) -> None:
    twin.configure(emit_clean_imports=False)
    (bucket / "usage.csv").write_text(csv(line("a")))
    assert twin.poll()[0]["status"] == "succeeded"
    assert _events(twin, "data_management") == []


def test_the_connector_looks_by_itself(bucket: Path) -> None:
    (bucket / "usage.csv").write_text(csv(line("a")))
    arrived = threading.Event()
    with Twin(bucket=bucket.as_uri(), poll_seconds=0.05) as twin:
        for _ in range(200):
            if twin.account().import_sets or arrived.wait(0.05):
                break
        assert len(twin.account().import_sets) == 1


def _made_up_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_a_bucket_of_s3_is_read_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    _made_up_credentials(monkeypatch)
    with moto_s3() as endpoint, Twin(bucket=f"s3://{BUCKET}/usage", s3_endpoint=endpoint) as twin:
        s3 = boto3.client("s3", endpoint_url=endpoint)
        s3.put_object(Bucket=BUCKET, Key="usage/one.csv", Body=csv(line("a")).encode())
        s3.put_object(Bucket=BUCKET, Key="other/two.csv", Body=csv(line("b")).encode())
        s3.close()
        assert len(twin.poll()) == 1
        assert twin.poll() == []
        assert [refusal.code for refusal in twin.refused()] == ["no_meter"]


def test_a_bucket_that_is_away_is_said_and_read_again_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector that died of it would look like usage that Stripe lost."""
    _made_up_credentials(monkeypatch)
    with (
        moto_s3() as endpoint,
        Twin(bucket="s3://late-bucket/usage", s3_endpoint=endpoint, poll_seconds=0.05) as twin,
    ):
        answer = requests.post(f"{twin.url}/_control/poll", timeout=30)
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "api_error")
        s3 = boto3.client("s3", endpoint_url=endpoint)
        s3.create_bucket(Bucket="late-bucket")
        s3.put_object(Bucket="late-bucket", Key="usage/one.csv", Body=csv(line("a")).encode())
        s3.close()
        deadline = time.monotonic() + 10
        while not twin.refused() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [refusal.code for refusal in twin.refused()] == ["no_meter"]
