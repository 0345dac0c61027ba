"""`metermend parts`. If these fail, who uploads by hand has no file to upload, or uploads it a second time."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingStripeApi
from tests.unit.cli.usage import run
from workers import bootstrap
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.settings import Settings
from workers.targets.dashboard import DashboardTarget

WHY = ("--reason", "Monday", "--as", "ada", "--yes")
METER = {
    "id": "mtr_1", "event_name": "api_calls", "status": "active", "event_time_window": None,
    "customer_mapping": {"event_payload_key": "stripe_customer_id"},
    "value_settings": {"event_payload_key": "value"}, "default_aggregation": {"formula": "sum"},
}  # fmt: skip


@pytest.fixture
def book(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Book:
    """A case with three repaired records, of a company that uploads by hand."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", str(sqlite_ledger.database.engine.url))
    monkeypatch.setenv("ARCHIVE_URL", str(tmp_path / "archive"))
    monkeypatch.setenv("SUBMIT_TO", "dashboard")
    context = a_context(sqlite_ledger, tmp_path, clock, stripe=RecordingStripeApi(meters=[METER]))
    book = Book(replace(context, target=DashboardTarget()), count=3)
    book.move(EntryKind.PLANNED, [0, 1, 2], reason="mended")
    monkeypatch.setattr(bootstrap, "context", lambda: book.context)
    return book


def test_a_part_is_put_down_once_and_told_of(book: Book, tmp_path: Path) -> None:
    waiting = run("parts").output
    assert "3 records of 1 case to be uploaded" in waiting
    assert "the next part: metermend parts take --reason WHY" in waiting
    taken = run("parts", "take", *WHY)
    assert taken.exit_code == 0, taken.output
    (part,) = tmp_path.glob("metermend-*.csv")
    assert f"metermend parts uploaded {part.name}" in taken.output
    assert part.read_text().count("\n") == 4
    in_hand = run("parts").output
    assert f"ada has {part.name} since" in in_hand
    assert f"metermend parts uploaded {part.name} --reason WHY" in in_hand
    again = run("parts", "take", *WHY)
    assert (again.exit_code, "ada has taken it on" in again.output) == (2, True)
    told = run("parts", "not-uploaded", part.name, *WHY)
    assert (told.exit_code, "take-back" in told.output) == (0, False)
    assert "not uploaded, says ada" in run("parts").output
    assert book.context.ledger.queries.balance()[Bucket.SUBMITTED].records == 3, "until its case goes on"


def test_nothing_is_handed_out_where_usage_goes_by_itself(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside the connector's would bill everything twice."""
    monkeypatch.setattr(bootstrap, "context", lambda: replace(book.context, target=None))
    refused = run("parts", "take", *WHY)
    assert refused.exit_code == 2
    assert "name `dashboard` in SUBMIT_TO" in refused.output
