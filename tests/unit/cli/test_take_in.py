"""`metermend take-in`. If these fail, who has downloaded the list of what was refused cannot have it repaired."""

from pathlib import Path

import pytest

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from tests.unit.cli.usage import run
from tests.unit.test_rules_while_running import METER
from workers import bootstrap
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket
from workers.kernel.settings import Settings

LIST = (
    "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,error\n"
    "u1,1795253400.0,api_calls,cus_9,5,The timestamp is invalid\n"
)


@pytest.fixture(autouse=True)
def _here(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds a ledger by its settings, and a recorded Stripe that knows the customer cus_9."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", str(sqlite_ledger.database.engine.url))
    stripe = RecordingStripeApi(meters=[METER], customers=[{"id": "cus_9"}])
    context = a_context(sqlite_ledger, tmp_path, clock, stripe=stripe)
    monkeypatch.setattr(bootstrap, "context", lambda: context)


def test_it_says_which_case_the_file_has_become_and_the_second_time_too(
    tmp_path: Path, sqlite_ledger: Ledger
) -> None:
    (tmp_path / "errors.csv").write_text(LIST)
    first = run("take-in", tmp_path / "errors.csv", "--as", "ada")
    assert first.exit_code == 0
    (case_id,) = sqlite_ledger.queries.case_ids()
    assert case_id in first.output
    again = run("take-in", tmp_path / "errors.csv")
    assert (again.exit_code, case_id in again.output) == (0, True)
    assert "nothing is taken in twice" in again.output
    assert sqlite_ledger.queries.balance().failed.records == 1


def test_what_is_no_list_is_one_line_and_leaves_nothing_behind(tmp_path: Path, sqlite_ledger: Ledger) -> None:
    (tmp_path / "usage.csv").write_text(LIST.replace(",error", "").replace(",The timestamp is invalid", ""))
    answer = run("take-in", tmp_path / "usage.csv")
    assert answer.exit_code == 2
    assert "usage.csv: not every row of it says that it was refused" in answer.output
    assert sqlite_ledger.queries.balance().failed.records == 0


def test_the_list_of_an_import_set_becomes_its_case(tmp_path: Path, sqlite_ledger: Ledger) -> None:
    (tmp_path / "errors.csv").write_text(LIST)
    assert run("take-in", tmp_path / "errors.csv", "--import-set", "impset_7").exit_code == 0
    (case_id,) = sqlite_ledger.queries.case_ids()
    case = sqlite_ledger.cases.get(case_id)
    assert case is not None
    assert case.failure.import_set_id == "impset_7"
    assert case.balance[Bucket.PENDING].records == 0, "it was planned at once"
