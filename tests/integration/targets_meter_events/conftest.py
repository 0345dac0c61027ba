"""A twin with a meter and its customers, and a submission that is intended in the ledger."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fixtures.twin import Twin
from tests.builders import a_failure, open_case
from tests.integration.targets_meter_events.sender import CUSTOMERS, RECORDS, records
from workers.kernel.ledger import connect
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.ledger.submissions import Intent


@pytest.fixture
def twin() -> Iterator[Twin]:
    with Twin() as running:
        running.add_meter("calls")
        running.add_customers(f"cus_{number}" for number in range(CUSTOMERS))
        yield running


@pytest.fixture
def order(twin: Twin, tmp_path: Path, migrated_sqlite: Path) -> dict[str, Any]:
    """A submission that is intended in the ledger, and its record set."""
    database_url = f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'ledger.db')}"
    path = tmp_path / "set.parquet"
    records().write_parquet(path)
    ledger = connect(database_url)
    case = open_case(ledger, a_failure())
    intent = Intent("case-1", 1, "meter-events", RECORDS, Decimal(RECORDS), ("calls",), RecordSetRef("x", "0" * 64))
    with ledger.cases.hold(case.id, "worker", timedelta(minutes=5)) as held, held.transaction() as transaction:
        transaction.submissions.intend(intent, 0)
    ledger.close()
    return {
        "stripe": twin.url, "database": database_url, "submission": "case-1",
        "path": str(path), "records": RECORDS,
    }  # fmt: skip
