"""If these fail, a command that only reads leaves a ledger behind, or an operator cannot find his records."""

import csv
import io
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import update

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.unit.cli.usage import run
from workers.cli.retry import _lines
from workers.cli.undo import _ask
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.tables import cases

READING = (
    ["prove"],
    ["cases"],
    ["export", "case_1"],
    ["quarantine", "case_1"],
    ["retry", "case_1"],
    ["undo", "case_1"],
    ["reconcile"],
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("ARCHIVE_URL", str(tmp_path / "archive"))
    monkeypatch.setenv("SCRATCH_DIR", str(tmp_path / "scratch"))
    return tmp_path


@pytest.fixture
def book(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Book:
    """A case of six: two wait for a person."""
    book = Book(a_context(sqlite_ledger, tmp_path, clock))
    book.move(EntryKind.QUARANTINED, [4, 5], reason="ambiguous")
    return book


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_without_a_ledger_a_command_says_so_in_one_line_and_creates_none(folder: Path, command: list[str]) -> None:
    result = run(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: no ledger at sqlite:///{folder}/ledger.db - set DATABASE_URL, or run `metermend db upgrade`\n"
    )
    assert list(folder.iterdir()) == []


def test_an_empty_database_is_no_ledger(folder: Path) -> None:
    (folder / "ledger.db").touch()
    assert "no ledger at" in run("prove").stderr


def test_a_migrated_ledger_is_one(folder: Path, migrated_sqlite: Path) -> None:
    shutil.copy(migrated_sqlite, folder / "ledger.db")
    assert run("cases").stdout == "no cases\n"


def test_cases_are_listed_by_state_for_people_and_for_scripts(book: Book) -> None:
    assert book.case_id in run("cases").stdout
    assert run("cases", "--state", "settled").stdout == "no cases\n"
    (told,) = json.loads(run("cases", "--json", "--state", "open", "--state", "settled").stdout)
    assert (told["case"], told["state"], told["failed"], told["quarantined"]) == (book.case_id, "open", 6, 2)
    assert told["in_flight"] == 4


LONG = "12,345 records of 2026-11-usage-of-the-whole-company.csv were refused: meter_event_customer_not_found"


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("summary", ["short", LONG, "x" * 300])
def test_nothing_of_a_case_is_lost_at_the_edge_of_a_terminal(
    book: Book, monkeypatch: pytest.MonkeyPatch, width: int, summary: str
) -> None:
    """A program gets one line for each case; a person reads the summary below it."""
    Book(book.context, key="another", summary=summary)
    piped = run("cases").stdout
    assert len(piped.splitlines()) == 3
    monkeypatch.setattr("workers.cli.cases.terminal_width", lambda: width)
    shown = run("cases").stdout
    assert summary.replace(" ", "") in "".join(shown.split())
    if summary != "short":
        assert max(map(len, shown.splitlines())) <= max(width, 76)
    assert run("cases", "--json").stdout.startswith("[")


def test_a_comparison_with_an_anchor_says_what_it_covers(book: Book, folder: Path) -> None:
    """Or an anchor of last year, or of an empty ledger, passes for proof of all."""
    kept = folder / "a.json"
    kept.write_text(run("prove", "--anchor").stdout)
    Book(book.context, key="another")
    result = run("prove", "--against", kept)
    assert (result.exit_code, result.stdout.splitlines()[-1].startswith("holds: 2 cases")) == (0, True)
    at = json.loads(kept.read_text())["at"][:10]
    assert f"compared with {kept} of {at}" in result.stdout
    assert "covers 1 of 2 cases, 2 of 3 entries, 0 events;" in result.stdout
    document = json.loads(run("prove", "--against", kept, "--json").stdout)
    assert (document["compared"]["cases"], document["compared"]["entries"]) == (1, 2)
    assert "compared" not in run("prove").stdout
    assert "readable quantity" in result.stdout


def test_more_cases_than_are_shown_are_counted(book: Book) -> None:
    Book(book.context, key="another")
    assert run("cases", "--limit", "1").stderr == "1 more: --limit 2\n"


def test_the_hint_about_an_unknown_case_names_a_command_that_helps(book: Book) -> None:
    for command in ("prove", "export", "quarantine"):
        result = run(command, "case_nope")
        assert (result.exit_code, "metermend cases" in result.stderr) == (2, True), command


def test_quarantined_records_are_printed_as_csv(book: Book, folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("quarantine", book.case_id).stdout)))
    assert [(row["identifier"], row["reason"]) for row in rows] == [("u4", "ambiguous"), ("u5", "ambiguous")]
    assert run("quarantine", book.case_id, "-o", folder / "q.csv").exit_code == 0
    assert len((folder / "q.csv").read_text().splitlines()) == 3


def test_a_record_steers_no_terminal_and_stays_as_it_is_in_a_pipe(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(a_context(sqlite_ledger, tmp_path, clock))
    book.frame = book.frame.with_columns(pl.lit("u\x1b[2J\u202e").alias("identifier"))
    book.move(EntryKind.QUARANTINED, [0])
    assert "u\x1b[2J\u202e" in run("quarantine", book.case_id).stdout
    monkeypatch.setattr("workers.cli.quarantine._is_terminal", lambda: True)
    assert "u\\x1b[2J\\u202e," in run("quarantine", book.case_id).stdout


def test_what_an_event_said_steers_no_terminal_when_cases_are_listed(book: Book) -> None:
    with book.context.ledger.database.write() as connection:
        connection.execute(update(cases).values(summary="x\x1b[2Jy\x1b]0;pwned\x07\u202e.csv was refused"))
    assert "x\\x1b[2Jy\\x1b]0;pwned\\x07\\u202e.csv was refused" in run("cases").stdout
    [told] = json.loads(run("cases", "--json").stdout)
    assert told["summary"] == "x\x1b[2Jy\x1b]0;pwned\x07\u202e.csv was refused"


def test_a_case_without_quarantined_records_says_so(book: Book) -> None:
    other = Book(book.context, key="another")
    result = run("quarantine", other.case_id)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing is quarantined" in result.stderr


def test_a_retry_of_a_settled_case_says_why_nothing_is_to_be_done(book: Book) -> None:
    settled = Book(book.context, count=2, key="settled")
    settled.confirm([0, 1], settled.send([0, 1]))
    case = book.context.ledger.cases.get(settled.case_id)
    assert case
    nothing = {"reopened": 0, "resent": 0, "kept_back": {}, "events": []}
    assert "nothing to do: it is settled" in _lines(case.id, nothing, case)[0]
    assert _lines(case.id, {**nothing, "reopened": 2}, case) == [f"{case.id}: 2 records retried"]


def test_an_undo_that_can_ask_nobody_takes_nothing_back() -> None:
    with pytest.raises(InputUnusable, match=r"no terminal.* - use --yes"):
        _ask()
