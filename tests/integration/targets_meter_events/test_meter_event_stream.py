"""The stream on the twin and a real ledger: no answer names a record, and yet each is billed once."""

from typing import Any

import polars as pl
import pytest

from fixtures.twin import Twin
from tests.integration.targets_meter_events.sender import (
    CUSTOMERS,
    RECORDS,
    assert_each_is_billed_once,
    records,
    send,
)
from workers.kernel.errors import Transient

STREAM = "/v2/billing/meter_event_stream"
SESSION = "/v2/billing/meter_event_session"


@pytest.fixture(autouse=True)
def by_stream(order: dict[str, Any]) -> None:
    order["by_stream"] = True


def test_answers_that_are_lost_on_the_way_bill_nothing_twice(twin: Twin, order: dict[str, Any]) -> None:
    for after in range(3):
        for fault in ({"mode": "cut_after"}, {"mode": "status", "status": 429}):
            twin.fail_next(path=STREAM, after=after, **fault)
    twin.fail_next("cut_before", path=SESSION)
    assert send(order).accepted == RECORDS
    assert_each_is_billed_once(twin)


def test_a_submission_that_broke_off_goes_on_with_the_chunk_in_doubt(twin: Twin, order: dict[str, Any]) -> None:
    """What went out without an answer goes out once more under its identifiers, which Stripe still knows."""
    twin.fail_next("cut_after", path=STREAM, after=2, times=4)
    with pytest.raises(Transient):
        send(order)
    assert len(list(twin.accepted())) == 300
    assert send(order).accepted == RECORDS
    assert_each_is_billed_once(twin)


def test_a_record_that_spoils_its_call_is_refused_and_keeps_no_other_from_going(
    twin: Twin, order: dict[str, Any]
) -> None:
    name = pl.when(pl.col("identifier") == "id-107").then(pl.lit("x" * 101)).otherwise("event_name")
    records().with_columns(event_name=name).write_parquet(order["path"])
    sent = send(order)
    assert [record.identifier for record in sent.refused] == ["id-107"]
    assert sent.accepted == len(list(twin.accepted())) == RECORDS - 1


def test_usage_of_a_connected_account_is_billed_there(twin: Twin, order: dict[str, Any]) -> None:
    """A token of our own account would bill its customers' usage to ours."""
    twin.add_meter("calls", account="acct_1")
    twin.add_customers((f"cus_{number}" for number in range(CUSTOMERS)), account="acct_1")
    assert send({**order, "account": "acct_1"}).accepted == RECORDS
    assert len(list(twin.accepted("acct_1"))) == RECORDS
    assert not list(twin.accepted())
