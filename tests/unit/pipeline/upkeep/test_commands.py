"""If these fail, the billing engineer on call gets a traceback, or an exit code that says the opposite."""

import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from workers.bootstrap import _of_process
from workers.cli import main
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import EntryKind


@pytest.fixture
def book(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.chdir(tmp_path)
    _of_process.cache_clear()
    for name, value in {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "ARCHIVE_URL": str(tmp_path / "archive"),
        "SCRATCH_DIR": str(tmp_path / "scratch"),
        "STRIPE_API_KEY": "sk_test_made_up",
    }.items():
        monkeypatch.setenv(name, value)
    book = Book(a_context(sqlite_ledger, tmp_path, clock))
    book.move(EntryKind.QUARANTINED, [0, 1])
    return book


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_prove_shows_the_equation_and_exits_with_0_where_it_holds(book: Book) -> None:
    result = run("prove")
    assert result.exit_code == 0
    assert "holds: 1 cases, 2 entries, 2 record sets" in result.output
    told = json.loads(run("prove", book.case_id, "--json").output)
    assert (told["holds"], told["breaches"]) == (True, [])
    assert told["equation"]["failed"] == {"records": 6, "quantity": "18"}
    assert told["equation"]["quarantined"] == {"records": 2, "quantity": "2"}


def test_prove_names_what_does_not_hold_and_exits_with_1(book: Book, tmp_path: Path) -> None:
    name = book.context.ledger.queries.entries(book.case_id)[1].record_set
    (tmp_path / "archive" / str(name)).unlink()
    result = run("prove", "--json")
    assert result.exit_code == 1
    (breach,) = json.loads(result.output)["breaches"]
    assert (breach["case"], breach["entry"]) == (book.case_id, 2)
    assert f"{book.case_id}: entry 2:" in run("prove").output


def test_an_anchor_is_printed_alone_and_later_growth_is_no_change(book: Book, tmp_path: Path) -> None:
    made = run("prove", "--anchor")
    assert made.exit_code == 0
    assert "holds: 1 cases" in made.stderr
    (tmp_path / "anchor.json").write_text(made.stdout)
    book.move(EntryKind.QUARANTINED, [2])
    Book(book.context, 2, key="another")
    assert run("prove", "--against", "anchor.json").exit_code == 0


def test_what_an_older_backup_has_lost_is_named_line_by_line(book: Book, tmp_path: Path) -> None:
    """An operator who restored a backup must learn which cases to look at."""
    with closing(sqlite3.connect("ledger.db")) as connection:
        connection.execute("VACUUM INTO 'backup.db'")
    book.move(EntryKind.QUARANTINED, [2])
    other = Book(book.context, 2, key="another")
    (tmp_path / "anchor.json").write_text(run("prove", "--anchor").stdout)
    book.context.ledger.close()
    shutil.copy(tmp_path / "backup.db", tmp_path / "ledger.db")
    assert run("prove").exit_code == 0
    result = run("prove", "--against", "anchor.json")
    assert result.exit_code == 1
    assert f"{book.case_id}: entry 3: it is missing since" in result.stdout
    assert f"{other.case_id}: it is missing since" in result.stdout


def test_export_writes_the_case(book: Book, tmp_path: Path) -> None:
    assert run("export", book.case_id, "-o", "out.tar.gz").exit_code == 0
    with tarfile.open(tmp_path / "out.tar.gz") as tar:
        assert f"{book.case_id}/manifest.json" in tar.getnames()


@pytest.mark.parametrize(
    "arguments",
    [
        ("prove", "case_x"),
        ("export", "case_x"),
        ("retry", "case_x"),
        ("retry", "evt_x"),
        ("undo", "case_x"),
        ("retry", "case_x", "--include-uncertain"),
        ("undo", "case_x", "--counter-entry"),
        ("reconcile", "--since", "yesterday"),
        ("prove", "--against", "ledger.db"),
        ("prove", "--against", "nowhere.json"),
        ("prove", "case_x", "--anchor"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(book: Book, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "Traceback" not in result.output


def test_undo_says_that_there_is_nothing_to_undo(book: Book) -> None:
    result = run("undo", book.case_id)
    assert (result.exit_code, result.output) == (0, "nothing is billed: there is nothing to undo\n")
