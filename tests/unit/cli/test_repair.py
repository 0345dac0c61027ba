"""`metermend repair`, as a person or a script meets it."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.cli.usage import DOCUMENT, NOW, OUTCOMES, USAGE, company, run, told


def test_json_has_the_documented_schema_and_its_sums_hold(tmp_path: Path) -> None:
    """Scripts decide by it whether a bill is complete."""
    usage = company(tmp_path)
    result = run("repair", usage, "--out", tmp_path / "out", "--json", *told(usage))
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(document) == DOCUMENT
    assert [document[outcome] for outcome in OUTCOMES] == [1, 1, 1, 1]
    assert document["records"] == 4
    assert document["by_code"] == {
        "meter_event_invalid_value": {"repaired": 0, "deferred": 0, "quarantined": 1},
        "timestamp_in_future": {"repaired": 1, "deferred": 1, "quarantined": 0},
    }
    assert set(document["quantity"]) == {"records", *OUTCOMES}
    assert sum(Decimal(document["quantity"][outcome]) for outcome in OUTCOMES) == Decimal(
        document["quantity"]["records"]
    )
    assert document["quantity"]["repaired"] == "1234567"
    assert document["files"]["corrected"] == [{"name": "corrected.csv", "records": 2}]


def test_a_person_sees_counts_quantities_and_where_the_files_lie(tmp_path: Path) -> None:
    usage = company(tmp_path)
    result = run("repair", usage, "--out", tmp_path / "out", *told(usage), width=60)
    assert result.exit_code == 0
    assert "1234567" in result.stdout
    assert "timestamp_in_future" in result.stdout
    assert f"{tmp_path / 'out' / 'corrected.csv'}: 2 records" in result.stdout


def test_reasons_stand_below_their_code_with_their_records(tmp_path: Path) -> None:
    """A code of our own, `malformed_record`, says nothing of what to do."""
    usage = company(
        tmp_path, USAGE + "a1,1795262300,api_calls,cus_1,5\na5,soon,api_calls,cus_1,5\na6,later,api_calls\n"
    )
    stdout = run("repair", usage, "--out", tmp_path / "out", *told(usage)).stdout
    lines = [" ".join(line.split()) for line in stdout.splitlines()]
    start = lines.index("malformed_record 3")
    assert lines[start + 1 : start + 4] == [
        "identifier_repeated 1",
        "timestamp_malformed 1",
        "wrong_column_count 1",
    ]
    assert lines[start + 4] == "meter_event_invalid_value 1", "a reason that is the code itself is not said twice"


def test_a_sum_says_of_how_many_records_the_quantity_is_not_known(tmp_path: Path) -> None:
    """37 for 5 records looks like all of them, though three are missing from it."""
    rows = [
        "b1,soon,api_calls,cus_1,30",
        "b2,soon,api_calls,cus_1,7",
        "b3,1795262300,api_calls,cus_1,€12",
        "b4,cut",
    ]
    usage = company(tmp_path, USAGE + "\n".join(rows) + "\n")
    stdout = run("repair", usage, "--out", tmp_path / "out", *told(usage)).stdout
    assert "quarantined 5 records; quantity of 2 of them: 37, of 3 not known" in stdout
    assert stdout.count("not known") == 1
    unknown = company(tmp_path)
    stdout = run("repair", unknown, "--out", tmp_path / "out", *told(unknown)).stdout
    assert "quarantined 1 record; quantity not known" in stdout


@pytest.mark.parametrize(
    ("name", "folder"),
    [("usage.csv", "usage-repaired"), ("2026.07.JSONL.gz", "2026.07-repaired"), (".csv", ".csv-repaired")],
)
def test_without_out_the_results_lie_in_a_folder_here_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    usage = company(tmp_path).rename(tmp_path / name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = run("repair", usage, *told(usage))
    assert result.exit_code == 0
    assert f"Written into {folder}\n" in result.stdout
    assert (tmp_path / "here" / folder / "corrected.csv").exists()
    as_json = run("repair", usage, "--json", *told(usage))
    assert json.loads(as_json.stdout)["records"] == 4, "nothing but the document is on stdout"
    assert as_json.stderr == f"Written into {folder}\n"


def test_a_folder_of_the_default_name_that_no_plan_wrote_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = company(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "usage-repaired").mkdir()
    (tmp_path / "usage-repaired" / "mine.txt").write_text("mine")
    result = run("repair", usage, *told(usage))
    assert result.exit_code == 2
    assert "usage-repaired: it is there already and no plan wrote it" in result.stderr
    assert [path.name for path in (tmp_path / "usage-repaired").iterdir()] == ["mine.txt"]


def test_strict_exits_with_1_only_when_a_person_is_needed(tmp_path: Path) -> None:
    usage = company(tmp_path)
    assert run("repair", usage, "--out", tmp_path / "out", "--strict", *told(usage)).exit_code == 1
    corrected = tmp_path / "out" / "corrected.csv"
    assert run("repair", corrected, "--out", tmp_path / "again", "--strict", *told(usage)).exit_code == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--meters", "usage.csv"], "no JSON list of meters"),
        (["--customers", "nowhere.txt"], "nowhere.txt: it does not exist"),
        (["--meters", "nowhere.json"], "nowhere.json: it does not exist"),
        (["--rules", "usage.csv"], "no TOML"),
        (["--rules", "nowhere.toml"], "nowhere.toml: it does not exist"),
        (["--now", "soon"], "--now: 'soon' is no time"),
        (["--column", "nothing"], "--column: 'nothing' names no two columns"),
        (["--delimiter", "§"], "--delimiter: '§' cannot separate fields"),
        (["--delimiter", ";;"], "--delimiter: ';;' cannot separate fields"),
        (["--encoding", "klingon"], "is no known encoding"),
        (["--error-column", "why"], "there is no column 'why'"),
    ],
)
def test_unusable_input_is_one_line_on_stderr_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], problem: str
) -> None:
    company(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run("repair", "usage.csv", "--out", "out", *options)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 100, b"identifier,timestamp\n"])
def test_a_file_that_is_no_usage_file_costs_nothing(tmp_path: Path, content: bytes) -> None:
    """Neither a traceback nor an empty upload."""
    (tmp_path / "usage.csv").write_bytes(content)
    result = run("repair", tmp_path / "usage.csv", "--out", tmp_path / "out", "--now", NOW)
    assert "Traceback" not in result.output
    assert result.exit_code in {0, 2}
    assert not (tmp_path / "out" / "corrected.csv").exists()


def test_several_files_are_repaired_into_one_folder(tmp_path: Path) -> None:
    usage = company(tmp_path)
    other = tmp_path / "other.jsonl"
    record = {"identifier": "b1", "timestamp": 1795262300, "event_name": "api_calls"}
    other.write_text(
        json.dumps(record | {"payload": {"stripe_customer_id": "cus_1", "value": 9, "region": "eu"}}) + "\n"
    )
    result = run("repair", usage, other, "--out", tmp_path / "out", "--json", *told(usage))
    assert json.loads(result.stdout)["records"] == 5
    corrected = (tmp_path / "out" / "corrected.csv").read_text().splitlines()
    assert corrected[0].endswith("payload_value,payload_region")
    assert corrected[-1] == "b1,1795262300,api_calls,cus_1,9,eu"


def test_without_meters_and_customers_only_the_record_itself_is_judged(tmp_path: Path) -> None:
    usage = company(tmp_path)
    usage.write_text(usage.read_text().replace("api_calls", "who knows"))
    document = json.loads(run("repair", usage, "--out", tmp_path / "out", "--json", "--now", NOW).stdout)
    assert [document[outcome] for outcome in OUTCOMES] == [1, 1, 1, 1]


@pytest.mark.parametrize("output", ["json", "jsonl", "dashboard"])
def test_the_corrected_file_comes_in_every_format(tmp_path: Path, output: str) -> None:
    usage = company(tmp_path)
    run("repair", usage, "--out", tmp_path / "out", "--format", output, *told(usage))
    suffix = {"json": ".json", "jsonl": ".jsonl", "dashboard": ".csv"}[output]
    assert "1234567" in (tmp_path / "out" / f"corrected{suffix}").read_text()
