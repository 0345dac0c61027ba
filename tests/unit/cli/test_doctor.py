"""If these fail, an operator mends one thing at a time, or starts a service that cannot run."""

import re
import sqlite3
from pathlib import Path

import pytest
from click.testing import Result

from tests.unit.cli.usage import run
from workers.cli.doctor_slips import misspelt
from workers.kernel.settings import Settings


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, nothing of this machine's environment that is a setting, and no Redis."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Result:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    result = run("doctor", width=200)
    assert "Traceback" not in result.output
    return result


def line(result: Result, start: str) -> str:
    found = [one for one in result.stdout.splitlines() if one.startswith(start)]
    assert found, result.stdout
    return found[0]


def test_with_nothing_set_all_that_is_missing_is_listed_and_nothing_is_created(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = asked(monkeypatch)
    assert result.exit_code == 2
    for name in ("MEND STRIPE_WEBHOOK_SECRETS", "MEND STRIPE_API_KEY", "MEND Redis", "MEND ledger"):
        line(result, name)
    assert "run `metermend db upgrade`" in result.stdout
    assert list(bare.iterdir()) == []


def test_every_wrong_setting_is_named_at_once(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = asked(
        monkeypatch,
        RULES_FILE="missing.toml",
        SUBMIT_TO="s3://",
        PORT="many",
        USAGE_SOURCES=f"missing,{bare}",
        ARCHIVE_URL="ftp://there",
        DATABASE_URL="nonsense",
    )
    for name in ("RULES_FILE", "SUBMIT_TO", "PORT", "USAGE_SOURCES", "ARCHIVE_URL", "ledger: DATABASE_URL"):
        line(result, f"MEND {name}")
    assert "missing does not exist" in line(result, "MEND USAGE_SOURCES")
    assert str(bare) in line(result, "ok   USAGE_SOURCES")


def test_a_target_that_does_not_exist_yet_is_not_called_well(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = asked(monkeypatch, SUBMIT_TO=f"file://{bare}/new")
    assert "does not exist yet" in line(result, "note SUBMIT_TO")


def test_places_are_told_by_their_account(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = asked(
        monkeypatch, USAGE_SOURCES=f"{bare},acct_1=missing", SUBMIT_TO=f"acct_1=file://{bare},meter-events"
    )
    line(result, f"ok   USAGE_SOURCES: {bare}")
    assert "missing does not exist" in line(result, "MEND USAGE_SOURCES of acct_1")
    line(result, "ok   SUBMIT_TO of acct_1")
    assert "names no place" in line(asked(monkeypatch, USAGE_SOURCES="acct-1=usage"), "MEND USAGE_SOURCES")


def test_a_table_of_usage_is_looked_into_and_its_password_is_not_shown(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = sqlite3.connect(bare / "usage.db")
    database.executescript("CREATE TABLE usage (id, used_at, meter, sent_at INTEGER)")
    place = f"sqlite:///{bare}/usage.db?table=usage"
    assert "nothing says which of its columns" in line(
        asked(monkeypatch, USAGE_SOURCES=place), "MEND USAGE_SOURCES"
    )
    columns = 'identifier = "id"\ntimestamp = "used_at"\nevent_name = "meter"\nwatermark = "sent_at"'
    (bare / "rules.toml").write_text(f"[sources.usage]\n{columns}")
    assert "no row is in it" in line(asked(monkeypatch, RULES_FILE="rules.toml"), "note USAGE_SOURCES")
    for sent_at, told in ((1795250000, "ok   USAGE_SOURCES"), (1795250000000, "MEND USAGE_SOURCES")):
        database.execute("INSERT INTO usage (sent_at) VALUES (?)", [sent_at])
        database.commit()
        line(asked(monkeypatch), told)
    database.close()
    away = asked(monkeypatch, USAGE_SOURCES="postgresql://me:canary@127.0.0.1:1/billing?table=usage")
    assert "postgresql://127.0.0.1:1/billing/usage" in line(away, "MEND USAGE_SOURCES")
    assert "canary" not in away.output


def test_a_target_that_nobody_may_write_to_is_told(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "file").write_text("")
    assert "no directory that we may write to" in line(
        asked(monkeypatch, SUBMIT_TO=f"file://{bare}/file/below"), "MEND SUBMIT_TO"
    )


def test_a_database_that_is_away_is_told_apart_from_one_without_a_ledger(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = asked(monkeypatch, DATABASE_URL="postgresql://u:hidden@127.0.0.1:1/x").stdout
    assert "start it, or see DATABASE_URL" in away
    assert "db upgrade" not in away
    (bare / "other.db").write_bytes(b"")
    assert "db upgrade" in asked(monkeypatch, DATABASE_URL=f"sqlite:///{bare}/other.db").stdout
    (bare / "other.db").write_bytes(b"no database at all" * 100)
    assert "not a database" in asked(monkeypatch, DATABASE_URL=f"sqlite:///{bare}/other.db").stdout


def test_a_stripe_that_is_away_is_told_without_a_line_of_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.stripe_api.call.FIRST_BACKOFF", 0.0)
    result = asked(monkeypatch, STRIPE_API_KEY="sk_test_hidden1", STRIPE_API_BASE="http://127.0.0.1:1")
    assert "could not be reached" in line(result, "MEND Stripe")
    assert "STRIPE_API_BASE (http://127.0.0.1:1)" in result.stdout
    strange = [one for one in result.output.splitlines() if one[:4] not in {"ok  ", "note", "MEND", "    "}]
    assert strange == []


@pytest.mark.parametrize("key", ["sk_test_hidden one", "sk_test_hidden\tone", "sk_test_hidden\u200bone"])
def test_a_key_with_a_blank_inside_is_named_and_the_network_is_not_blamed(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    result = asked(monkeypatch, STRIPE_API_KEY=key, STRIPE_API_BASE="http://127.0.0.1:1")
    assert "character 15" in line(result, "MEND STRIPE_API_KEY")
    assert "network" not in result.output
    assert "hidden" not in result.output


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    result = asked(
        monkeypatch, STRIPE_WEBHOOK_SECRETS="whsec_hidden", DATABASE_URL="postgresql://u:hidden@127.0.0.1:1/x"
    )
    assert "hidden" not in result.output


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRETS"),
        ("STRIPE_SECRET_KEY", "STRIPE_API_KEY"),
        ("USAGE_SOURCE", "USAGE_SOURCES"),
        ("SLACK_WEBHOOK", "SLACK_WEBHOOK_URL"),
    ],
)
def test_a_name_that_nothing_reads_is_told_with_the_one_that_was_meant(given: str, meant: str) -> None:
    (slip,) = misspelt([given, "PATH", "HOME"])
    assert (slip.name, slip.mend, slip.grade) == (given, f"did you mean {meant}?", "note")


def test_a_name_is_no_slip_where_the_setting_is_given_too() -> None:
    assert list(misspelt(["STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRETS", "STRIPE_API_KEY_FILE", "PORT"])) == []


def test_a_slip_in_dotenv_is_told(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / ".env").write_text("STRIPE_WEBHOOK_SECRET=whsec_1\nwrong line\n")
    result = asked(monkeypatch)
    line(result, "note STRIPE_WEBHOOK_SECRET")
    assert "line 2" in line(result, "MEND .env")


def test_the_versions_of_the_server_here_and_of_the_one_that_answers_are_told(
    monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    result = asked(monkeypatch, REDIS_URL=redis_url)
    assert re.search(r"Redis server here: \S+, version \d+\.\d+", result.stdout)
    assert re.search(r"ok +Redis: .*, version \d+\.\d+", result.stdout)
