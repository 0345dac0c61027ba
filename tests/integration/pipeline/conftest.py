"""A loop for each test, on SQLite; the ledger's own tests run on both databases."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.twin import Twin
from tests.integration.pipeline.loop import Loop, SteeredClock
from workers.kernel.ledger import connect


@pytest.fixture
def loop(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Loop]:
    """One company with a meter and three customers, before anything went wrong."""
    shutil.copy(migrated_sqlite, tmp_path / "ledger.db")
    clock = SteeredClock()
    ledger = connect(f"sqlite:///{tmp_path / 'ledger.db'}", clock)
    (tmp_path / "bucket").mkdir()
    with Twin(bucket=f"file://{tmp_path / 'bucket'}", poll_seconds=1e9) as twin:
        twin.add_meter("api_requests")
        twin.add_customers(["cus_1", "cus_2", "cus_3"])
        yield Loop(tmp_path, twin, ledger, clock)
    ledger.close()
