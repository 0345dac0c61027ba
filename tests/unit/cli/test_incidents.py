"""If these fail, the command that a message names does not show what the message is about."""

import json
from pathlib import Path

import pytest

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.unit.cli.usage import run
from tests.unit.pipeline.notify.storm import Storm
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket
from workers.kernel.settings import Settings


@pytest.fixture
def storm(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Storm:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
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
