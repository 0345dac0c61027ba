"""What is known of the account: wrong knowledge sends usage to the wrong meter or customer."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from workers.kernel.errors import InputUnusable
from workers.records.catalog import (
    CUSTOMER_ID,
    METER_STATUS,
    VALUE_TEXT,
    Catalog,
    Meter,
    load_customers,
    load_meters,
)

STRIPE_METER = {
    "id": "mtr_1",
    "object": "billing.meter",
    "event_name": "tokens",
    "status": "inactive",
    "customer_mapping": {"type": "by_id", "event_payload_key": "account"},
    "value_settings": {"event_payload_key": "tokens"},
    "default_aggregation": {"formula": "count"},
    "event_time_window": "day",
    "dimension_payload_keys": ["region"],
}


def test_a_meter_is_read_as_stripe_writes_it() -> None:
    assert Meter.from_stripe(STRIPE_METER) == Meter(
        "tokens",
        active=False,
        id="mtr_1",
        customer_column="payload_account",
        value_column="payload_tokens",
        formula="count",
        event_time_window="day",
        dimensions=("payload_region",),
    )


def test_a_meter_without_settings_has_stripes_defaults_and_unknown_dimensions() -> None:
    meter = Meter.from_stripe({"event_name": "api_calls", "customer_mapping": None})
    assert meter == Meter("api_calls")
    assert meter.dimensions is None


@pytest.mark.parametrize("wrap", [list, lambda meters: {"object": "list", "data": list(meters)}])
def test_meters_come_as_a_list_or_as_stripes_answer(tmp_path: Path, wrap: type) -> None:
    path = tmp_path / "meters.json"
    path.write_text(json.dumps(wrap([STRIPE_METER])))
    assert [meter.event_name for meter in load_meters(path)] == ["tokens"]


def test_the_first_page_of_many_meters_is_not_taken_for_all(tmp_path: Path) -> None:
    """Stripe gives ten meters at a time: the usage of the eleventh would be said to have no meter."""
    path = tmp_path / "meters.json"
    path.write_text(json.dumps({"object": "list", "data": [STRIPE_METER], "has_more": True}))
    with pytest.raises(InputUnusable, match="the list goes on"):
        load_meters(path)
    path.write_text(json.dumps({"object": "list", "data": [STRIPE_METER], "has_more": False}))
    assert len(load_meters(path)) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id": "mtr_1"}]', '[{"event_name": " "}]', "\x00"])
def test_a_file_without_meters_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "meters.json"
    path.write_text(text)
    with pytest.raises(InputUnusable, match=r"meters\.json") as caught:
        load_meters(path)
    assert "\n" not in str(caught.value)


def test_customers_are_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "customers.txt"
    path.write_bytes(b"\xef\xbb\xbfcus_1\r\n\r\n  cus_2  \n")
    assert load_customers(path).to_list() == ["cus_1", "cus_2"]


def test_a_missing_list_of_customers_is_one_clear_error(tmp_path: Path) -> None:
    """Taken for an empty list, every customer would be unknown."""
    with pytest.raises(InputUnusable, match="nowhere: it does not exist"):
        load_customers(tmp_path / "nowhere")
    (tmp_path / "customers.txt").write_bytes(b"cus_\xff")
    with pytest.raises(InputUnusable, match=r"customers\.txt: it is no UTF-8 text"):
        load_customers(tmp_path / "customers.txt")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "it holds no customer id"),
        ("id,Name\ncus_1,Acme\n", "id 1 is no id: 'id,Name'"),
        ('cus_1\n\n"cus_2"\n', "id 2 is no id: '\"cus_2\"'"),
        ("cus_1 cus_2\n", "id 1 is no id: 'cus_1 cus_2'"),
    ],
)
def test_what_is_no_list_of_customers_is_refused(tmp_path: Path, text: str, error: str) -> None:
    """Read line by line, an export of the Dashboard would make each of the sender's customers unknown."""
    (tmp_path / "customers.csv").write_text(text)
    with pytest.raises(InputUnusable, match=re.escape(error)):
        load_customers(tmp_path / "customers.csv")


def test_each_record_is_read_by_the_keys_of_its_own_meter_and_written_back_to_them() -> None:
    catalog = Catalog(meters=(Meter("api_calls"), Meter.from_stripe(STRIPE_METER)))
    frame = pl.DataFrame(
        {
            "event_name": ["api_calls", "tokens", "unknown"],
            "payload_stripe_customer_id": ["a", "b", "c"],
            "payload_account": ["d", "e", "f"],
            "payload_value": ["1", "2", "3"],
            "payload_tokens": ["4", "5", "6"],
        }
    )
    resolved = catalog.resolve(frame)
    assert resolved[METER_STATUS].to_list() == ["active", "inactive", None]
    assert resolved[CUSTOMER_ID].to_list() == ["a", "e", "c"]
    assert resolved[VALUE_TEXT].to_list() == ["1", "5", "3"]
    written = catalog.write_back(resolved.with_columns(pl.lit("X").alias(VALUE_TEXT)))
    assert written["payload_value"].to_list() == ["X", "2", "X"]
    assert written["payload_tokens"].to_list() == ["4", "X", "6"]


def test_an_active_meter_counts_before_an_archived_one_of_the_same_name() -> None:
    catalog = Catalog(meters=(Meter("calls"), Meter("calls", active=False)))
    assert catalog.by_event_name["calls"].active
