"""If these fail, an operator believes that he has a backup, or a restore, that he has not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.unit.cli.usage import run
from workers.bootstrap import _of_process
from workers.kernel.ledger import Ledger
from workers.pipeline.upkeep.reconcile import Look

KEY = "sk_test_backup1"


@pytest.fixture
def folder(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service with a case of six."""
    monkeypatch.chdir(tmp_path)
    at(monkeypatch, tmp_path, "ledger.db", "archive")
    Book(a_context(sqlite_ledger, tmp_path, clock))
    return tmp_path


def at(patch: pytest.MonkeyPatch, folder: Path, ledger: str, archive: str) -> None:
    """Set the settings of a service whose ledger and archive are there."""
    patch.setenv("STRIPE_API_KEY", KEY)
    patch.setenv("DATABASE_URL", f"sqlite:///{folder}/{ledger}")
    patch.setenv("ARCHIVE_URL", str(folder / archive))
    patch.setenv("SCRATCH_DIR", str(folder / "scratch"))
    _of_process.cache_clear()


def test_a_backup_is_proved_where_it_lies_and_restored_where_nothing_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe being away, what it lists is still to be taken in: exit code 1 says that `restored` is to be run.

    Rules that stand in a file look into the ledger when they are read: they are not read before there is one.
    """
    (folder / "rules.toml").touch()
    monkeypatch.setenv("RULES_FILE", str(folder / "rules.toml"))
    made = run("backup", folder / "backups")
    assert (made.exit_code, made.stderr) == (0, "")
    [kept] = (folder / "backups" / "ledgers").iterdir()
    assert made.stdout == f"{kept}, and 1 new file of the archive\n"
    at(monkeypatch, folder, f"backups/ledgers/{kept.name}", "backups/archive")
    assert "holds: 1 cases, 1 entries" in run("prove").stdout
    at(monkeypatch, folder, "new.db", "new-archive")
    away = Look(None, "thin", datetime(2026, 11, 21, tzinfo=UTC), trouble="Stripe does not answer")
    monkeypatch.setattr("workers.cli.reconcile.reconcile_lists", lambda *_: [away])
    restored = run("restore", folder / "backups")
    assert f"restored {kept}: see what `metermend prove` says" in restored.stdout
    assert "nothing is known from 2026-11-21 09:30 to " in restored.stdout
    assert (restored.exit_code, "broke off: Stripe does not answer" in restored.stderr) == (1, True)
    assert "holds: 1 cases, 1 entries" in run("prove").stdout


def test_damage_is_told_by_name_and_exit_code(folder: Path) -> None:
    """A backup that lacks a file looks like a whole one."""
    [kept] = (folder / "archive").rglob("*.parquet")
    kept.write_bytes(b"damaged")
    made = run("backup", folder / "backups")
    assert (made.exit_code, made.stderr) == (1, f"  damaged, and left out: {kept}\n")
