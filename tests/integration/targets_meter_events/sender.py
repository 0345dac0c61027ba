"""Sends one submission, if need be in a process of its own, so that it can be killed: argv is a JSON object."""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import polars as pl

from fixtures.twin import Twin
from workers.kernel.ledger import connect
from workers.kernel.settings import load
from workers.pipeline.submit.send import LedgerProgress
from workers.stripe_api import LiveStripeApi
from workers.targets import Outgoing, Sent, Target
from workers.targets.meter_event_stream import MeterEventStreamTarget
from workers.targets.meter_events import MeterEventsTarget

RECORDS: Final = 450
CUSTOMERS: Final = 9


def records() -> pl.DataFrame:
    """The submission's records, each of one call of an hour ago."""
    return pl.DataFrame({
        "identifier": [f"id-{number}" for number in range(RECORDS)],
        "timestamp": [str(int(time.time()) - 3600)] * RECORDS,
        "event_name": ["calls"] * RECORDS,
        "payload_stripe_customer_id": [f"cus_{number % CUSTOMERS}" for number in range(RECORDS)],
        "payload_value": ["1"] * RECORDS,
    })  # fmt: skip


def assert_each_is_billed_once(twin: Twin) -> None:
    """Nothing is lost, and no customer pays twice."""
    counted = Counter(usage.identifier for usage in twin.accepted())
    assert counted == {f"id-{number}": 1 for number in range(RECORDS)}


def send(order: dict[str, Any]) -> Sent:
    """Send the submission `order["submission"]` from the record set at `order["path"]`, if need be `by_stream`."""
    bases = dict.fromkeys(("stripe_api_base", "stripe_files_base", "stripe_meter_events_base"), order["stripe"])
    settings = load({"stripe_api_key": "sk_test_made_up_key", "stripe_timeout": 5.0, **bases})
    api, ledger = LiveStripeApi(settings), connect(order["database"])
    target: Target = MeterEventStreamTarget(api) if order.get("by_stream") else MeterEventsTarget(api)
    try:
        out = Outgoing(order["submission"], order.get("account"), Path(order["path"]), order["records"])
        progress = LedgerProgress(ledger, out.submission_id, ledger.database.write, may_not_go=lambda _: ())
        return target.send(out, progress)
    finally:
        ledger.close()
        api.close()


if __name__ == "__main__":
    sys.stdout.write(str(send(json.loads(sys.argv[1])).accepted))
