"""`metermend repair`, as a person or a script meets it."""

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.cli.usage import DOCUMENT, FAILED_RECORDS, NOW, OUTCOMES, USAGE, company, run, told


def test_json_has_the_documented_schema_and_its_sums_hold(tmp_path: Path) -> None:
    """Scripts decide by it whether a bill is complete."""
    usage = company(tmp_path)
    result = run("repair", usage, "--out", tmp_path / "out", "--json", *told(usage))
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(document) == DOCUMENT | {"neutralised_cells"}
    assert [document[outcome] for outcome in OUTCOMES] == [1, 1, 1, 1]
    assert document["records"] == 4
    assert document["by_code"] == {
        "meter_event_invalid_value": {"repaired": 0, "deferred": 0, "quarantined": 1},
        "timestamp_in_future": {"repaired": 1, "deferred": 1, "quarantined": 0},
    }
    assert set(document["quantity"]) == {"records", *OUTCOMES}
    known = [amount for outcome in OUTCOMES if (amount := document["quantity"][outcome]) is not None]
    assert sum(map(Decimal, known)) == Decimal(document["quantity"]["records"])
    assert document["quantity"]["quarantined"] is None, "what cannot be read is not 0"
    assert document["unreadable_quantity"] == dict.fromkeys(OUTCOMES, 0) | {"quarantined": 1, "records": 1}
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
    assert "quarantined: 3 records with no readable quantity, and 37 of the others" in stdout
    assert stdout.count("no readable quantity") == 1
    unknown = company(tmp_path)
    stdout = run("repair", unknown, "--out", tmp_path / "out", *told(unknown)).stdout
    assert "quarantined: 1 record with no readable quantity\n" in stdout
    (line,) = [line.split() for line in stdout.splitlines() if line.startswith("quarantined ")]
    assert line == ["quarantined", "1", "not", "known"]


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


@pytest.mark.parametrize("command", ["check", "repair", "explain"])
@pytest.mark.parametrize("given", [(), ("--meters",), ("--customers",), ("--meters", "--customers")])
def test_what_is_not_checked_for_want_of_an_option_is_said(
    tmp_path: Path, command: str, given: tuple[str, ...]
) -> None:
    """Who reads "no fault found" uploads the file, though nobody has looked at its customers."""
    usage = company(tmp_path)
    files = {"--meters": tmp_path / "meters.json", "--customers": tmp_path / "customers.txt"}
    known = [part for option in given for part in (option, files[option])]
    extra: dict[str, list[str | Path]] = {
        "check": ["check"],
        "repair": ["repair", "--out", tmp_path / "out"],
        "explain": ["rules", "explain", "--rules", tmp_path / "rules.toml"],
    }
    arguments = [*extra[command], usage, "--now", NOW, *known]
    shown = " ".join(run(*arguments).stdout.split())
    document = json.loads(run(*arguments, "--json").stdout)
    for option in files:
        assert (f"for want of {option}." in shown) == (option not in given)
        assert any(option in text for text in document["not_checked"]) == (option not in given)


def test_what_a_pre_aggregated_meter_holds_already_is_said_to_be_unknown(tmp_path: Path) -> None:
    """A repaired older value, uploaded by hand, takes the place of a newer one that Stripe has counted."""
    usage = company(tmp_path)
    (tmp_path / "meters.json").write_text(json.dumps([{"event_name": "api_calls", "event_time_window": "hour"}]))
    result = run("repair", usage, "--out", tmp_path / "out", *told(usage))
    assert "what is sent replaces them" in " ".join(result.stdout.split())


def test_cells_that_would_run_are_neutralised_where_a_person_reads_and_it_is_said(tmp_path: Path) -> None:
    """And byte for byte as they came where Stripe reads: another identifier would be another record."""
    rows = ["=a1,1795262300,api_calls,cus_1,5", "@b,1795262300,=1+1,cus_1,-5", "-c,1795262300,api_calls,+x,-7"]
    usage = company(tmp_path, USAGE.splitlines()[0] + "\n" + "\n".join(rows) + "\n")
    result = run("repair", usage, "--out", tmp_path / "out", *told(usage))
    assert (tmp_path / "out" / "corrected.csv").read_text().splitlines()[1:] == rows[:1]
    kept = (tmp_path / "out" / "quarantine.csv").read_text().splitlines()[1:]
    assert kept[0].startswith("'@b,1795262300,'=1+1,cus_1,-5,")
    assert kept[1].startswith("'-c,1795262300,api_calls,'+x,-7,")
    assert "4 cells that would run in a spreadsheet got a leading apostrophe" in " ".join(result.stdout.split())
    assert (
        json.loads(run("repair", usage, "--out", tmp_path / "out", "--json", *told(usage)).stdout)[
            "neutralised_cells"
        ]
        == 4
    )


def test_records_that_got_the_next_identifier_are_said_in_one_line(tmp_path: Path) -> None:
    """Or nobody knows why the corrected file has other identifiers than the books."""
    failed = company(tmp_path, FAILED_RECORDS)
    result = run("repair", failed, "--out", tmp_path / "out", *told(failed), width=200)
    assert "1 record was refused for its data: it has the next revision's identifier" in result.stdout
    assert "--refused-for" not in result.stdout
    without = company(tmp_path, FAILED_RECORDS.replace("meter_event_customer_not_found", ""))
    result = run("repair", without, "--out", tmp_path / "out", *told(without), width=200)
    assert "1 repaired record has no code: refused for the form, with the old identifier" in result.stdout
    failed = company(tmp_path, FAILED_RECORDS)
    form = run("repair", failed, "--out", tmp_path / "out", "--refused-for", "form", *told(failed), width=200)
    assert "next revision" not in form.stdout
    document = json.loads(run("repair", failed, "--out", tmp_path / "out", "--json", *told(failed)).stdout)
    assert document["next_revisions"] == 1


@pytest.mark.parametrize("command", ["check", "repair"])
def test_rows_that_differ_under_one_identifier_are_shown(tmp_path: Path, command: str) -> None:
    """Stripe counts the first, 5; whether 7 was meant only the sender can say, and has to see it."""
    row = "1795262300,api_calls,cus_1"
    rows = [f"a,{row},5", f"b,{row},3", f"a,{row},7", f"b,{row},3"]
    usage = company(tmp_path, USAGE.splitlines()[0] + "\n" + "\n".join(rows) + "\n")
    out: list[str | Path] = ["--out", tmp_path / "out"] if command == "repair" else []
    stdout = run(command, usage, *out, *told(usage), width=200).stdout
    assert "records that repeat an earlier one's identifier: 2; different from it: 1" in stdout
    assert "'a': row 3 differs from row 1: payload_value '7', not '5'" in stdout
    assert "'b'" not in stdout.replace("e.g.", "")
    found = json.loads(run("check", usage, "--json", *told(usage)).stdout)["files"][str(usage)]["differences"]
    assert found == [
        {
            "identifier": "a",
            "row": 3,
            "first": {"file": "usage.csv", "row": 1},
            "columns": {"payload_value": {"first": "5", "here": "7"}},
        }
    ]


def test_of_many_rows_that_differ_some_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    rows = "".join(f"a,1795262300,api_calls,cus_1,{n}\n" for n in range(25))
    usage = company(tmp_path, USAGE.splitlines()[0] + "\n" + rows)
    stdout = run("check", usage, *told(usage), width=200).stdout
    assert stdout.count("differs from row 1") == 10
    assert "and 14 more" in stdout
    other = tmp_path / "other.csv"
    other.write_text(usage.read_text().splitlines()[0] + "\na,1795262300,api_calls,cus_1,99\n")
    assert "row 1 differs from row 1 of usage.csv" in run("check", usage, other, *told(usage), width=200).stdout


def test_a_record_that_waits_names_its_file_its_row_and_all_its_faults(tmp_path: Path) -> None:
    """Of two files the row alone says nothing; and who mends one fault of three uploads it in vain."""
    usage = company(tmp_path)
    other = tmp_path / "other.csv"
    other.write_text(USAGE.splitlines()[0] + "\nb1,soon,api_calls,cus_2,x\n")
    run("repair", usage, other, "--out", tmp_path / "out", *told(usage))
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as stream:
        kept = {row["identifier"]: row for row in csv.DictReader(stream)}
    assert (kept["a3"]["source"], kept["a3"]["row"]) == ("usage.csv", "3")
    assert (kept["b1"]["source"], kept["b1"]["row"]) == ("other.csv", "1")
    assert set(kept["b1"]["faults"].split(", ")) == {
        "timestamp_malformed",
        "meter_event_customer_not_found",
        "meter_event_invalid_value",
    }


@pytest.mark.parametrize("output", ["json", "jsonl", "dashboard"])
def test_the_corrected_file_comes_in_every_format(tmp_path: Path, output: str) -> None:
    usage = company(tmp_path)
    run("repair", usage, "--out", tmp_path / "out", "--format", output, *told(usage))
    suffix = {"json": ".json", "jsonl": ".jsonl", "dashboard": ".csv"}[output]
    assert "1234567" in (tmp_path / "out" / f"corrected{suffix}").read_text()
