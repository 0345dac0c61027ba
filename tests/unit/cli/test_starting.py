"""What cannot start must say so in one line: a traceback at night sends the operator the wrong way."""

import logging
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from tests.unit.cli.usage import run
from workers.bootstrap import _of_process
from workers.cli.db import migrate
from workers.kernel.ledger.schema import NEWEST
from workers.kernel.settings import Settings

LEDGER = "sqlite:///ledger.db"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, migrated_sqlite: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a ledger, all settings well, and logging as it was afterwards."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ledger.db").write_bytes(migrated_sqlite.read_bytes())
    (tmp_path / "empty.db").touch()
    (tmp_path / "other.db").write_bytes(b"no database at all" * 100)
    well = {"STRIPE_API_KEY": "sk_test_made_up", "STRIPE_WEBHOOK_SECRETS": "whsec_made_up", "DATABASE_URL": LEDGER}
    for name, value in {**well, "REDIS_URL": redis_url, "PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    root, rq = logging.getLogger(), logging.getLogger("rq.worker")
    handlers, level, filters = list(root.handlers), root.level, list(rq.filters)
    _of_process.cache_clear()
    yield
    _of_process.cache_clear()
    root.handlers[:], root.level, rq.filters[:] = handlers, level, filters
    structlog.reset_defaults()


@pytest.mark.parametrize("command", ["worker", "clock", "serve"])
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("REDIS_URL", "redis://:hidden@127.0.0.1:1/0", "REDIS_URL: "),
        ("REDIS_URL", "unix:///nowhere.sock", "REDIS_URL: "),
        ("REDIS_URL", "hidden@nonsense", "REDIS_URL: "),
        ("REDIS_URL", "redis://127.0.0.1:99999/0", "REDIS_URL: Port out of range"),
        ("DATABASE_URL", "postgresql://u:hidden@127.0.0.1:1/x", "start it, or see DATABASE_URL"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL: not a database address"),
        ("DATABASE_URL", "mysql://u:hidden@there/x", "DATABASE_URL: mysql is not supported"),
        ("DATABASE_URL", "sqlite:///other.db", "file is not a database - see DATABASE_URL"),
        ("ARCHIVE_URL", "ftp://there", "no place that files can be kept in"),
        ("ARCHIVE_URL", "s3://", "check the address"),
        ("RULES_FILE", "missing.toml", "missing.toml: it does not exist"),
        ("STRIPE_API_KEY", "sk_test hidden", "STRIPE_API_KEY: character 8"),
        ("STRIPE_API_KEY", "", "STRIPE_API_KEY: no API key"),
    ],
)
def test_what_keeps_the_service_from_starting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, command: str, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    result = run(command)
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert told in line
    assert "hidden" not in line


@pytest.mark.parametrize("command", ["worker", "clock"])
@pytest.mark.parametrize("url", ["sqlite:///empty.db", "sqlite:///absent.db"])
def test_a_ledger_that_is_not_migrated_is_told_with_what_migrates_it(
    monkeypatch: pytest.MonkeyPatch, command: str, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr("workers.cli.open_ledger.MIGRATION_SECONDS", 0)
    result = run(command)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "run `metermend db upgrade`" in result.stderr


def test_what_is_started_beside_the_migration_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Procfile starts all its lines at once, and ends them all with the first that ends."""
    monkeypatch.setenv("DATABASE_URL", "sqlite:///absent.db")
    migration = threading.Timer(0.2, migrate, ["sqlite:///absent.db"])
    migration.start()
    result = run("worker", "--burst")
    migration.join()
    assert result.exit_code == 0, result.output
    assert result.output.count("ledger_awaited") == 1


def test_what_waits_for_the_migration_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first process of a container it would hear no SIGTERM, and be killed when all patience is over."""
    monkeypatch.setenv("DATABASE_URL", "sqlite:///absent.db")
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM]).start()
    result = run("worker")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (128 + signal.SIGTERM, "stopped")


@pytest.mark.parametrize("command", [["worker"], ["db", "upgrade"]])
def test_what_a_later_release_has_migrated_is_left_to_it_at_once(command: list[str]) -> None:
    """A worker of yesterday would write what the ledger of today does not add up any more."""
    with closing(sqlite3.connect("ledger.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    result = run(*command)
    assert result.exit_code == 2
    assert result.stderr.endswith("which knows " + NEWEST + " - run the release that migrated it\n")


@pytest.mark.parametrize(
    "command", [["cases"], ["prove"], ["quarantine", "case_x"], ["reconcile"], ["db", "upgrade"]]
)
@pytest.mark.parametrize("url", ["postgresql://u:hidden@127.0.0.1:1/x", "nonsense", "sqlite:///other.db"])
def test_a_ledger_that_cannot_be_read_is_one_line_for_every_command(
    monkeypatch: pytest.MonkeyPatch, command: list[str], url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    result = run(*command)
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert "DATABASE_URL" in line
    assert "hidden" not in line
