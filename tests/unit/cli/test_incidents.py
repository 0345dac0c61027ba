"""If these fail, the command that a message names does not show what the message is about."""

import json
from pathlib import Path

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.unit.cli.usage import run
from tests.unit.pipeline.notify.storm import Storm
from workers.bootstrap import _of_process
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.settings import Settings
from workers.pipeline.notify import tell
from workers.pipeline.record_sets import movement
from workers.records.schema import REASON, SUGGESTION


@pytest.fixture
def storm(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Storm:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    _of_process.cache_clear()
    monkeypatch.setenv("DATABASE_URL", str(sqlite_ledger.database.engine.url))
    return Storm(a_context(sqlite_ledger, tmp_path, clock))


def test_incidents_and_the_cases_of_one_are_listed(storm: Storm) -> None:
    cases = {storm.case(n, {Bucket.QUARANTINED: 2}) for n in range(2)}
    other = storm.case(3, {Bucket.QUARANTINED: 1}, account="acct_1")
    listed = json.loads(run("incidents", "--json").stdout)
    assert sorted((one["cases"], one["refused"]) for one in listed) == [(1, 1), (2, 4)]
    [ours] = [one for one in listed if one["cases"] == 2]
    text = run("incidents").stdout
    assert ours["incident"] in text
    assert "rows of usage-*.csv were refused for their format" in text
    shown = json.loads(run("cases", "--incident", ours["incident"], "--json").stdout)
    assert {one["case"] for one in shown} == cases
    assert other not in run("cases", "--incident", ours["incident"]).stdout
    assert "1 more" in run("cases", "--incident", ours["incident"], "--limit", "1").output


def test_without_any_it_says_so(storm: Storm) -> None:
    assert run("incidents").stdout == "no incidents\n"


def test_all_that_waits_in_an_incident_is_retried_by_one_command(
    storm: Storm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred commands for five hundred files would be typed wrong, or not at all."""
    for name, value in {
        "ARCHIVE_URL": tmp_path / "archive",
        "SCRATCH_DIR": tmp_path / "scratch",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "STRIPE_API_KEY": "sk_test_made1",
    }.items():
        monkeypatch.setenv(name, str(value))
    books = [
        Book(storm.context, 3, key=f"import_set:{n}", summary=f"rows of day-{n}.csv were refused") for n in "12"
    ]
    for book in books:
        ref = book.keep([0, 1], **{REASON: "unknown_customer", SUGGESTION: "Create it."})
        route = (Bucket.PENDING, Bucket.QUARANTINED)
        with book.held() as held:
            with held.transaction() as transaction:
                transaction.move(movement(storm.context, EntryKind.QUARANTINED, route, ref))
            tell(storm.context, held)
    [incident] = storm.context.ledger.incidents.recent(10)
    result = run("retry", incident.id)
    assert result.exit_code == 0, result.output
    for book in books:
        assert f"{book.case_id}: 2 records retried" in result.output
        assert book.balance(Bucket.QUARANTINED) == 0
    assert "no record is quarantined" in run("retry", incident.id).output
    assert run("retry", "inc_none").exit_code == 2
    assert run("retry", incident.id, "--include-uncertain", "--approve", "ann").exit_code == 2
