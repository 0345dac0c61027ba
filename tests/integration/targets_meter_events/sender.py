"""Sends one submission in a process of its own, so that it can be killed: argv is a JSON object."""

import json
import sys
from pathlib import Path
from typing import Any

from workers.kernel.ledger import connect
from workers.kernel.settings import load
from workers.pipeline.submit.send import LedgerProgress
from workers.stripe_api import LiveStripeApi
from workers.targets import Outgoing, Sent
from workers.targets.meter_events import MeterEventsTarget


def send(order: dict[str, Any]) -> Sent:
    """Send the submission `order["submission"]` from the record set at `order["path"]`."""
    settings = load({
        "stripe_api_key": "sk_test_made_up_key", "stripe_api_base": order["stripe"],
        "stripe_files_base": order["stripe"], "stripe_timeout": 5.0,
    })  # fmt: skip
    api, ledger = LiveStripeApi(settings), connect(order["database"])
    try:
        out = Outgoing(order["submission"], None, Path(order["path"]), order["records"])
        progress = LedgerProgress(ledger, out.submission_id, ledger.database.write, may_not_go=lambda _: ())
        return MeterEventsTarget(api).send(out, progress)
    finally:
        ledger.close()
        api.close()


if __name__ == "__main__":
    sys.stdout.write(str(send(json.loads(sys.argv[1])).accepted))
