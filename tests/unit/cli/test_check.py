"""`metermend check`, before an upload: what it overlooks, Stripe refuses later and asynchronously."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.usage import DOCUMENT, FAILED_RECORDS, NOW, USAGE, company, run, told
from workers.cli.show import FORM_SHOWN_IN, row_ranges
from workers.kernel.reasons import FORM
from workers.records.files.layout import Unreadable


def test_every_fault_is_shown_with_its_rows(tmp_path: Path) -> None:
    usage = company(tmp_path)
    result = run("check", usage, *told(usage))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    value = lines.index("meter_event_invalid_value: 2 records, rows 2-3")
    time = lines.index("timestamp_in_future: 2 records, rows 2, 4")
    assert lines[value + 1] == "  the quantity is no plain decimal number, e.g. row 2: '1,234,567'"
    assert lines[time + 1] == "  the timestamp is more than 5 minutes ahead, e.g. row 2: '1795262300000'"
    assert "Of 4 records Stripe would refuse 3." in lines


def test_one_of_anything_is_told_in_the_singular(tmp_path: Path) -> None:
    usage = company(tmp_path, USAGE.splitlines()[0] + "\na1,1795262300,api_calls,cus_1,x\n")
    lines = run("check", usage, *told(usage)).stdout.splitlines()
    assert lines[0] == "usage.csv: 1 record, CSV"
    assert lines[1] == "meter_event_invalid_value: 1 record, row 1"
    assert "Of 1 record Stripe would refuse 1." in lines


def test_sound_records_in_an_odd_file_are_not_all_there_is_to_say(tmp_path: Path) -> None:
    """Stripe refuses a file for its separators alone: \"no fault found\" would be the last that anyone reads."""
    usage = company(tmp_path, USAGE.splitlines()[0].replace(",", ";") + "\na1;1795262300;api_calls;cus_1;5\n")
    stdout = run("check", usage, *told(usage)).stdout
    assert "No fault found in 1 record, but see what is said above of the files.\n" in stdout
    usage.write_text(usage.read_text().replace(";", ","))
    assert "No fault found in 1 record.\n" in run("check", usage, *told(usage)).stdout


def test_a_column_of_another_name_is_asked_for(tmp_path: Path) -> None:
    """Nobody guesses that `when` may be read as the timestamp, and a thousand rows seem beyond repair."""
    usage = company(tmp_path, USAGE.replace("timestamp", "when"))
    hint = "`--column THEIRS=OURS` says which column it is."
    assert hint in run("check", usage, *told(usage)).stdout
    stdout = run("check", usage, "--column", "when=timestamp", *told(usage)).stdout
    assert hint not in stdout
    assert "Of 4 records Stripe would refuse 3." in stdout


@pytest.mark.parametrize("declared", ["csv", "json", "jsonl"])
def test_a_format_is_declared_by_the_name_that_repair_takes(tmp_path: Path, declared: str) -> None:
    usage = company(tmp_path)
    run("repair", usage, "--out", tmp_path / "out", "--format", declared, *told(usage))
    corrected = tmp_path / "out" / f"corrected.{declared}"
    result = run("check", corrected, "--format-in", declared, *told(usage))
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"corrected.{declared}: 2 records, {declared.upper()}\n" in result.stdout


def test_a_repeated_identifier_is_skipped_not_refused(tmp_path: Path) -> None:
    """Who expects a refusal waits for an event that never comes."""
    usage = company(tmp_path, USAGE.splitlines()[0] + "\na1,1795262300,api_calls,cus_1,5" * 3)
    stdout = run("check", usage, *told(usage), width=200).stdout
    assert "Of 3 records Stripe would skip 2 as repeated." in stdout
    assert "Stripe counts that one and skips this, e.g. row 2: 'a1'" in stdout
    both = company(tmp_path, USAGE + "a1,1795262300,api_calls,cus_1,5\n")
    assert "Of 5 records Stripe would refuse 3 and skip 1 as repeated." in run("check", both, *told(both)).stdout


def test_of_a_failed_records_file_it_is_told_what_stripe_did(tmp_path: Path) -> None:
    """Who reads that Stripe would refuse the rows uploads them, and does not look for what became of them."""
    failed = company(tmp_path, FAILED_RECORDS)
    stdout = run("check", failed, *told(failed), width=200).stdout
    codes = "meter_event_customer_not_found 2, meter_event_invalid_value 1"
    assert f"Stripe refused 3 records: {codes}.\nNothing wrong shows in 1 of them.\n" in stdout
    assert "would" not in stdout


def test_files_of_both_kinds_are_judged_each_for_itself(tmp_path: Path) -> None:
    usage = company(tmp_path)
    failed = tmp_path / "failed.csv"
    failed.write_text(FAILED_RECORDS)
    lines = run("check", usage, failed, *told(usage), width=200).stdout.splitlines()
    assert "Of 4 records Stripe would refuse 3." in lines
    assert any(line.startswith("Stripe refused 3 records: ") for line in lines)


def test_examples_come_from_the_first_row_in_any_part_of_a_large_file(tmp_path: Path) -> None:
    rows = "".join(f"a{row},1795262300,api_calls,cus_1,5\n" for row in range(1, 250_000))
    usage = company(tmp_path, USAGE.splitlines()[0] + "\n" + rows + "b,1795262300,api_calls,cus_1,[x]\nc,cut\n")
    document = json.loads(run("check", usage, "--json", *told(usage)).stdout)
    (found,) = document["files"].values()
    assert {fault["fault"]: (fault["rows"], fault["example"]) for fault in found["faults"]} == {
        "meter_event_invalid_value": ([250_000], "[x]"),
        "wrong_column_count": ([250_001], "c,cut"),
    }


def test_what_a_sender_wrote_is_shown_as_it_is_however_odd(tmp_path: Path) -> None:
    usage = company(tmp_path, USAGE.splitlines()[0] + f"\na1,1795262300,api_calls,[b]:smile:\x1b,{'9' * 300}\n")
    stdout = run("check", usage, *told(usage)).stdout
    assert r"'[b]:smile:\x1b'" in stdout
    assert "9" * 100 not in stdout


def test_every_fault_has_its_meaning() -> None:
    """A fault without one would end `check` with an error."""
    form = {"event_name_missing", "event_name_too_long", "identifier_too_long", "identifier_repeated"}
    payload = {"payload_as_text", "payload_not_an_object"}
    others = {"timestamp_missing", "timestamp_malformed", "value_of_other_notation", *payload}
    assert {*Unreadable, *form, *others} == set(FORM)
    assert set(FORM_SHOWN_IN) <= set(FORM)


def test_json_lists_faults_and_findings_by_file(tmp_path: Path) -> None:
    usage = company(tmp_path, USAGE + ",1795262300,api_calls,cus_1,1\na1,1795262300,api_calls,cus_1,1\n")
    document = json.loads(run("check", usage, "--json", *told(usage)).stdout)
    assert set(document) == DOCUMENT
    (found,) = document["files"].values()
    assert {
        "fault": "meter_event_invalid_value",
        "meaning": "the quantity is no plain decimal number",
        "records": 2,
        "rows": [2, 3],
        "example": "1,234,567",
    } in found["faults"]
    assert {"missing_identifiers", "repeated_identifiers"} <= {finding["slug"] for finding in found["findings"]}


def test_nothing_is_written(tmp_path: Path) -> None:
    usage = company(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run("check", usage, *told(usage))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("name", "text"), [("usage.csv", USAGE.splitlines()[0] + "\n"), ("usage.json", "[]")])
def test_a_file_without_a_record_is_a_finding(tmp_path: Path, name: str, text: str) -> None:
    """An export that broke off after its header would pass every check, and a day of usage be missing."""
    usage = company(tmp_path).rename(tmp_path / name)
    usage.write_text(text)
    result = run("check", usage, "--strict", *told(usage))
    assert result.exit_code == 1
    assert "  - holds no record\n" in result.stdout


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_of_a_utf_16_file_it_is_told_what_stripe_expects(tmp_path: Path, encoding: str) -> None:
    usage = company(tmp_path)
    usage.write_bytes(("\ufeff" + USAGE).encode(encoding))
    assert "  - is UTF-16; Stripe expects UTF-8\n" in run("check", usage, *told(usage)).stdout


def test_declared_failed_records_are_said_to_be_declared(tmp_path: Path) -> None:
    usage = company(tmp_path)
    stdout = run("check", usage, "--kind", "failed-records", *told(usage), width=200).stdout
    assert "read as a failed-records file (as declared): every row was refused" in stdout


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


def test_the_dashboards_forms_of_times_are_no_fault_there(tmp_path: Path) -> None:
    """61,173 of 91,017 rows were called refused that the Dashboard takes."""
    times = ("2026-11-20", "2026-11-20T10:00:00Z", "2026-11-20T10:00:00+0100", "1795162300", "2026-11-20 10:00:00")
    rows = [f"a{place},{time},api_calls,cus_1,5" for place, time in enumerate(times)]
    usage = company(tmp_path, "\n".join([USAGE.splitlines()[0], *rows]) + "\n")
    assert "Of 5 records Stripe would refuse 1." in run("check", usage, "--dashboard", *told(usage)).stdout
    assert "Of 5 records Stripe would refuse 4." in run("check", usage, *told(usage)).stdout


def test_what_stripe_would_take_for_another_quantity_is_not_called_refused(tmp_path: Path) -> None:
    rows = [f'a{place},1795162300,api_calls,cus_1,"{value}"' for place, value in enumerate(("1.234,50", "1.234"))]
    usage = company(tmp_path, "\n".join([USAGE.splitlines()[0], *rows]) + "\n")
    assert "Of 2 records Stripe would refuse 1 and perhaps misread 1." in run("check", usage, "--now", NOW).stdout


BODY = {"events": [{"identifier": "e1", "timestamp": 1795262300, "event_name": "api_calls",
        "payload": {"stripe_customer_id": "cus_1", "value": 5}}]}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "findings"),
    [
        ("usage.json", "[]", {"no_records"}),
        ("usage.json", "[ \n ]", {"no_records"}),
        ("usage.json", "[{}]", {"header_missing"}),
        ("body.json", json.dumps(BODY), {"body"}),
        ("body.json", json.dumps(BODY) + "\n", {"body"}),
        ("body.json", json.dumps(BODY, indent=1), {"body"}),
        ("body.jsonl", json.dumps(BODY), {"body"}),
        (
            "body.json",
            f"{json.dumps(BODY)}\n{json.dumps(BODY)}\n",
            {"body", "wrong_extension", "repeated_identifiers"},
        ),
        ("body.txt", json.dumps(BODY), {"body", "wrong_extension"}),
    ],
)
def test_nobody_looks_for_a_column_or_a_name_that_is_not_wrong(
    tmp_path: Path, name: str, text: str, findings: set[str]
) -> None:
    usage = tmp_path / name
    usage.write_text(text)
    (file,) = json.loads(run("check", usage, "--json", "--now", NOW).stdout)["files"].values()
    assert {finding["slug"] for finding in file["findings"]} - {"missing_identifiers"} == findings
    shown = run("check", usage, "--now", NOW).stdout
    assert ("--column" in shown) == ("header_missing" in findings)
