"""If these fail, an auditor gets less than there is, or cannot verify what he got."""

import csv
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.books import EVENT, Book, a_context
from tests.conftest import FrozenClock
from workers.kernel.errors import Corrupt, InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.audit.case_csv import write_csv
from workers.pipeline.audit.export import export
from workers.pipeline.context import Context
from workers.records.schema import carried_name


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    body = b'{"id": "evt_1"}\xff'
    sqlite_ledger.events.record(NewEvent(EVENT, "thin", "v1.billing.meter.error_report_triggered", False, body))
    return a_context(sqlite_ledger, tmp_path, clock)


@pytest.fixture
def book(context: Context, tmp_path: Path) -> Book:
    book = Book(context)
    book.move(EntryKind.QUARANTINED, [3, 4, 5])
    submission = book.send([0, 1, 2])
    context.ledger.chunks.intend(context.ledger.database.write, submission, 0, 0, 3, {})
    context.ledger.chunks.finish(submission, 0, {"accepted": 3})
    evidence = tmp_path / "failed-records.csv"
    evidence.write_text("identifier,reason\nu1,bad\n")
    context.archive.keep(book.case_id, "failed-records", evidence)
    return book


def exported(context: Context, book: Book, into: Path) -> dict[str, bytes]:
    export(context.ledger, context.archive, book.case_id, into)
    with tarfile.open(into) as tar:
        return {
            member.name.removeprefix(f"{book.case_id}/"): file.read()
            for member in tar.getmembers()
            if (file := tar.extractfile(member)) is not None
        }


def test_everything_about_a_case_is_in_the_file_and_under_its_digest(
    context: Context, book: Book, tmp_path: Path
) -> None:
    files = exported(context, book, tmp_path / "case.tar.gz")
    manifest = json.loads(files.pop("manifest.json"))["sha256"]
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == manifest
    assert files["events/1.body"] == b'{"id": "evt_1"}\xff'
    assert json.loads(files["submissions.json"])[0]["chunks"][0]["result"] == {"accepted": 3}
    named = {name for name in files if name.startswith("files/")}
    assert any("failed-records" in name for name in named)
    kept = {f"files/{Path(str(e.record_set)).name}" for e in context.ledger.queries.entries(book.case_id) if e.ref}
    assert kept < named
    assert "sha256" in files["README.txt"].decode()


def test_the_chain_can_be_verified_by_what_the_readme_says(context: Context, book: Book, tmp_path: Path) -> None:
    """Written from README.txt alone, without a line of the product."""
    files = exported(context, book, tmp_path / "case.tar.gz")
    case = json.loads(files["case.json"])
    fields = files["README.txt"].decode().split("its fields ")[1].split(",\n")[0].split(", ")
    expected = hashlib.sha256(f"metermend case {case['key']}".encode()).hexdigest()
    for line in files["entries.jsonl"].decode().splitlines():
        entry: dict[str, Any] = json.loads(line)
        assert entry["previous"] == expected
        covered = {name: entry[name] for name in fields}
        text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        expected = hashlib.sha256(text.encode()).hexdigest()
        assert entry["hash"] == expected
    assert case["head"] == expected


def test_the_event_behind_an_entry_can_be_verified_by_what_the_readme_says(
    context: Context, book: Book, tmp_path: Path
) -> None:
    files = exported(context, book, tmp_path / "case.tar.gz")
    fields = files["README.txt"].decode().split("made as in 2, of ")[1].split("\n")[0].split(", ")
    event: dict[str, Any] = json.loads(files["events/1.json"])
    covered = {name: event[name] for name in fields}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    first = json.loads(files["entries.jsonl"].decode().splitlines()[0])
    assert first["detail"]["event_digest"] == hashlib.sha256(text.encode()).hexdigest()
    assert event["sha256"] == hashlib.sha256(files["events/1.body"]).hexdigest()


def test_a_second_export_is_the_same_file(context: Context, book: Book, tmp_path: Path) -> None:
    for name in ("one.tar.gz", "two.tar.gz"):
        export(context.ledger, context.archive, book.case_id, tmp_path / name)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_an_altered_file_stops_the_export_and_leaves_nothing_half_written(
    context: Context, book: Book, tmp_path: Path
) -> None:
    name = next(name for name in context.archive.names(book.case_id) if "failed-records" in name)
    (Path(context.settings.archive_url) / name).write_text("identifier,reason\n")
    with pytest.raises(Corrupt):
        export(context.ledger, context.archive, book.case_id, tmp_path / "case.tar.gz")
    assert list(tmp_path.glob("case.tar.gz*")) == []


def test_an_unknown_case_is_one_clear_error(context: Context, tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="case_x: there is no such case"):
        export(context.ledger, context.archive, "case_x", tmp_path / "case.tar.gz")


def test_records_that_wait_are_there_as_csv_too(context: Context, tmp_path: Path) -> None:
    """A billing engineer has a spreadsheet, and nothing that opens Parquet."""
    book = Book(context)
    book.move(EntryKind.QUARANTINED, [3, 4], reason="ambiguous")
    book.move(EntryKind.DEFERRED, [5])
    files = exported(context, book, tmp_path / "case.tar.gz")
    rows = list(csv.DictReader(io.StringIO(files["quarantined.csv"].decode())))
    assert [(row["identifier"], row["payload_value"], row["reason"]) for row in rows] == [
        ("u3", "3.5", "ambiguous"),
        ("u4", "4.5", "ambiguous"),
    ]
    assert {"code", "source", "row"} < set(rows[0])
    assert files["deferred.csv"].count(b"\n") == 2
    assert {"quarantined.csv", "deferred.csv"} < set(json.loads(files["manifest.json"])["sha256"])


def test_a_case_of_which_nothing_waits_has_no_empty_csv(context: Context, tmp_path: Path) -> None:
    files = exported(context, Book(context), tmp_path / "case.tar.gz")
    assert not {"quarantined.csv", "deferred.csv"} & set(files)


def test_a_senders_column_named_like_ours_keeps_its_name(context: Context, tmp_path: Path) -> None:
    book = Book(context)
    book.frame = book.frame.with_columns(pl.lit("theirs").alias("reason"))
    book.move(EntryKind.QUARANTINED, [0], reason="ours")
    assert write_csv(context, book.case_id, Bucket.QUARANTINED, tmp_path / "q.csv")
    row = next(csv.DictReader(io.StringIO((tmp_path / "q.csv").read_text())))
    assert (row["reason"], row["metermend_reason"]) == ("theirs", "ours")


FORMULAS = [
    '=HYPERLINK("http://127.0.0.1/?"&A2,"x")',
    "=cmd|'/C calc'!A0",
    "=1+1",
    "+SUM(A1)",
    "+cus_Ax1",
    "-2+3",
    "-cus_1",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    "\uff1d1+1",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_in_a_customers_data_does_not_run_where_a_person_opens_the_case(
    context: Context, tmp_path: Path, formula: str
) -> None:
    book = Book(context)
    text = pl.lit(formula)
    book.frame = book.frame.with_columns(
        text.alias("identifier"), text.alias("payload_value"), text.alias(carried_name(formula))
    )
    book.move(EntryKind.QUARANTINED, [0], reason="ours")
    assert write_csv(context, book.case_id, Bucket.QUARANTINED, tmp_path / "q.csv")
    with (tmp_path / "q.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["identifier"] == row["payload_value"] == row[f"'{formula}"] == f"'{formula}"


def test_a_number_stays_a_number_for_the_person_who_adds_it_up(context: Context, tmp_path: Path) -> None:
    book = Book(context)
    book.frame = book.frame.with_columns(pl.lit("-5").alias("payload_value"))
    book.move(EntryKind.QUARANTINED, [0], reason="ours")
    assert write_csv(context, book.case_id, Bucket.QUARANTINED, tmp_path / "q.csv")
    assert ",-5," in (tmp_path / "q.csv").read_text()


def test_columns_that_would_be_called_the_same_are_told_apart(context: Context, tmp_path: Path) -> None:
    book = Book(context)
    theirs = ["=x", "'=x", "''=x", "reason", "metermend_reason"]
    book.frame = book.frame.with_columns(pl.lit(name).alias(name) for name in theirs)
    book.move(EntryKind.QUARANTINED, [0], reason="ours")
    assert write_csv(context, book.case_id, Bucket.QUARANTINED, tmp_path / "q.csv")
    row = next(csv.DictReader(io.StringIO((tmp_path / "q.csv").read_text())))
    assert row["metermend_metermend_reason"] == "ours"
    assert {"'=x", "''=x", "reason", "metermend_reason"} < set(row.values())
