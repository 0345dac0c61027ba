"""The target on the twin and a real ledger: what Stripe has at the end is what was meant, once."""

import json
import subprocess
import sys
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from fixtures.twin import Twin
from tests.builders import a_failure
from tests.integration.targets_meter_events.sender import RECORDS, assert_each_is_billed_once, records, send
from workers.kernel.ledger import connect
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.ledger.submissions import Intent

METER_EVENTS = "/v1/billing/meter_events"


def test_a_sender_that_is_killed_twice_bills_each_record_once(twin: Twin, order: dict[str, Any]) -> None:
    twin.configure(call_seconds=0.01)
    command = [sys.executable, "-m", "tests.integration.targets_meter_events.sender", json.dumps(order)]
    for reached in (60, 260):
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while len(list(twin.accepted())) < reached:
            assert time.monotonic() < deadline, "the sender does not get on"
            assert process.poll() is None, "the sender ended before it could be killed"
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert len(list(twin.accepted())) < RECORDS
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout.splitlines()[-1]) == RECORDS
    assert_each_is_billed_once(twin)


def test_answers_that_are_lost_on_the_way_bill_nothing_twice(twin: Twin, order: dict[str, Any]) -> None:
    for after in range(0, 300, 60):
        twin.fail_next("cut_after", path=METER_EVENTS, after=after)
        twin.fail_next("cut_before", path=METER_EVENTS, after=after)
        twin.fail_next("status", status=429, reason="endpoint-rate", path=METER_EVENTS, after=after)
    sent = send(order)
    assert sent.accepted == RECORDS
    assert_each_is_billed_once(twin)


def test_what_is_refused_at_once_is_told_by_record_and_code(twin: Twin, order: dict[str, Any]) -> None:
    twin.configure(sync_codes=("meter_event_value_too_many_digits", "meter_event_no_customer_defined"))
    value = pl.when(pl.col("identifier") == "id-7").then(pl.lit("1234567890123456")).otherwise("payload_value")
    bad = records().with_columns(value.alias("payload_value"))
    bad.write_parquet(order["path"])
    sent = send(order)
    assert [(record.identifier, record.code) for record in sent.refused] == [
        ("id-7", "meter_event_value_too_many_digits")
    ]
    assert sent.accepted == RECORDS - 1


def test_an_identifier_that_is_taken_is_held_and_not_billed_again(twin: Twin, order: dict[str, Any]) -> None:
    send(order)
    ledger = connect(order["database"])
    case_id = a_failure().case_id
    again = Intent("case-2", 2, "meter-events", RECORDS, Decimal(RECORDS), ("calls",), RecordSetRef("x", "0" * 64))
    with ledger.cases.hold(case_id, "worker", timedelta(minutes=5)) as held, held.transaction() as transaction:
        transaction.submissions.intend(again, 1)
    ledger.close()
    sent = send({**order, "submission": "case-2"})
    assert len(sent.held) == RECORDS
    assert not any(record.tried_before for record in sent.held)
    assert_each_is_billed_once(twin)
