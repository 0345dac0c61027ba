"""What a scrape of /metrics costs, with few cases and events in the ledger and with many."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final

from prometheus_client import generate_latest
from sqlalchemy import insert

from tests.recording import RecordingJobQueue
from webhooks.health import Health, registry_of
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Balance, Bucket, Tally
from workers.kernel.ledger.schema import upgrade
from workers.kernel.ledger.tables import cases, events
from workers.kernel.settings import load

FEW: Final = 10
MANY: Final = 1_000_000
AT_A_TIME: Final = 50_000
SCRAPES: Final = 20
AT: Final = datetime(2026, 11, 27, tzinfo=UTC)


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Scrape a ledger of ten and one of 100,000 cases and as many events (1,000,000 with `full`)."""
    many = MANY if full else MANY // 10
    seconds = {number: _scraped(number, rounds) for number in (FEW, many)}
    if not quiet:
        ratio = seconds[many] / seconds[FEW]
        print(f"a scrape takes {seconds[FEW] * 1000:.1f} ms at {FEW} cases, {ratio:.2f} times as long at {many:,}")
    return {str(number): taken for number, taken in seconds.items()}


def _scraped(number: int, rounds: int) -> float:
    with _ledger_of(number) as ledger:
        registry = registry_of(Health(load({"database_url": "sqlite://"}), ledger, RecordingJobQueue()))
        return median(_timed(lambda: generate_latest(registry)) for _ in range(SCRAPES * rounds))


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def _ledger_of(number: int) -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory(prefix="mm-scrape-") as folder:
        ledger = connect(f"sqlite:///{Path(folder) / 'ledger.db'}")
        upgrade(ledger.database)
        for start in range(0, number, AT_A_TIME):
            ids = range(start, min(start + AT_A_TIME, number))
            with ledger.database.write() as connection:
                connection.execute(insert(cases), [_case(one) for one in ids])
                connection.execute(insert(events), [_event(one) for one in ids])
        ledger.recount()
        yield ledger
        ledger.close()


def _case(number: int) -> dict[str, Any]:
    tally = Tally(12, Decimal("4.5"))
    columns = {"kind": "import_set", "livemode": False, "summary": "12 rows were refused", "version": 1}
    return columns | {
        "id": f"case_{number}",
        "key": f"case {number}",
        "state": CaseState.SETTLED,
        "head": "0" * 64,
        "balance": Balance(tally, {Bucket.CONFIRMED: tally}).to_json(),
        "opened_at": AT,
        "changed_at": AT,
    }


def _event(number: int) -> dict[str, Any]:
    columns = {"kind": "thin", "type": "v1.billing.meter.error_report_triggered", "livemode": False}
    return columns | {
        "id": f"evt_{number}",
        "received_at": AT,
        "raw": b"{}",
        "sha256": "0" * 64,
        "state": EventState.DONE,
    }
