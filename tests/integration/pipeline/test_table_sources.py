"""A sender who keeps usage in a table: if this fails, what Stripe refused of it is never sent again."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tests.integration.pipeline.loop import Loop, usage
from workers.bootstrap import table_source
from workers.kernel.ledger.journal import Bucket
from workers.remedies import parse_rules
from workers.sources import JoinedUsageSources

RULES = """
[sources.usage]
identifier = "id"
timestamp = "used_at"
event_name = "meter"
watermark = "sent_at"
payload = { stripe_customer_id = "customer", value = "tokens" }
"""


def test_a_refused_row_of_a_table_is_found_mended_and_billed_once(loop: Loop, tmp_path: Path) -> None:
    sent_at = int(time.time())
    with closing(sqlite3.connect(tmp_path / "usage.db")) as database, database:
        database.execute("CREATE TABLE usage (id, used_at INTEGER, meter, customer, tokens, sent_at INTEGER)")
        rows = [("use-1", " cus_1", "40"), ("use-2", "cus_1", "2")]
        database.executemany(
            "INSERT INTO usage VALUES (?, ?, 'api_requests', ?, ?, ?)",
            [(name, sent_at - 3600, customer, tokens, sent_at) for name, customer, tokens in rows],
        )
    table = table_source(f"sqlite:///{tmp_path / 'usage.db'}?table=usage", parse_rules(RULES))
    loop.context = replace(loop.context, sources=JoinedUsageSources(loop.context.sources, [table]))
    (loop.bucket / "day.csv").write_text(
        usage(f"use-1,{sent_at - 3600},api_requests, cus_1,40", f"use-2,{sent_at - 3600},api_requests,cus_1,2")
    )
    loop.stripe_works()  # refuses a row
    loop.stripe_works()  # takes it
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "42"}
    assert loop.balance[Bucket.CONFIRMED].records == 1
