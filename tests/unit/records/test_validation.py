"""The one diagnosis: a fault that it overlooks is refused by Stripe, one that it invents stops sound usage."""

import polars as pl
import pytest

from tests.unit.remedies.frames import EPOCH_NOW, NOW, good, records
from workers.records.catalog import Catalog, Meter
from workers.records.schema import UNREADABLE
from workers.records.timestamps import Window
from workers.records.validation import FAULT_COLUMNS, Standard, first_fault

METERS = (
    Meter("api_calls", dimensions=()),
    Meter("old", active=False),
    Meter("by_region", dimensions=("payload_region",)),
)
KNOWN = Standard(Catalog(meters=METERS, customers=pl.Series(["cus_known"])), Window(NOW))
UNKNOWN = Standard(Catalog(), Window(NOW), customer_aliases=pl.Series(["acme"]), event_aliases=pl.Series(["calls"]))

FAULTS = {
    "event_name_missing": {"event_name": "\u200b"},
    "event_name_too_long": {"event_name": "e" * 101},
    "identifier_too_long": {"identifier": "i" * 101},
    "no_meter": {"event_name": "api-calls"},
    "archived_meter": {"event_name": "old"},
    "timestamp_missing": {"timestamp": None},
    "timestamp_malformed": {"timestamp": "2026-11-20"},
    "timestamp_too_far_in_past": {"timestamp": str(EPOCH_NOW - 35 * 86400 - 1)},
    "timestamp_in_future": {"timestamp": str(EPOCH_NOW + 301)},
    "meter_event_no_customer_defined": {"payload_stripe_customer_id": " "},
    "meter_event_customer_not_found": {"payload_stripe_customer_id": "cus_gone"},
    "meter_event_value_not_found": {"payload_value": ""},
    "meter_event_invalid_value": {"payload_value": "1e3"},
    "meter_event_value_too_many_digits": {"payload_value": "1234567890123456"},
    "missing_dimension_payload_keys": {"event_name": "by_region", "payload_region": None},
}


def faults(standard: Standard, **changes: str | None) -> set[str]:
    judged = standard.judge(records([good(**changes)]))
    return {fault for fault in judged.select(FAULT_COLUMNS).row(0) if fault}


@pytest.mark.parametrize(("fault", "changes"), FAULTS.items())
def test_each_fault_is_found(fault: str, changes: dict[str, str | None]) -> None:
    assert fault in faults(KNOWN, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"identifier": None},
        {"timestamp": str(EPOCH_NOW + 300)},
        {"timestamp": str(EPOCH_NOW - 35 * 86400)},
        {"payload_value": "-0.00000000000000012"},
        {"payload_value": "007"},
        {"event_name": "by_region", "payload_region": "eu"},
    ],
)
def test_sound_records_are_left_in_peace(changes: dict[str, str | None]) -> None:
    assert faults(KNOWN, **changes) == set()


@pytest.mark.parametrize("changes", [{"event_name": "whatever"}, {"payload_stripe_customer_id": "tenant 7"}])
def test_what_is_unknown_is_not_held_against_a_record(changes: dict[str, str | None]) -> None:
    """Someone who only has the file must still get a useful answer."""
    assert faults(UNKNOWN, **changes) == set()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"payload_stripe_customer_id": " cus_1"}, "meter_event_customer_not_found"),
        ({"payload_stripe_customer_id": "acme"}, "meter_event_customer_not_found"),
        ({"event_name": "calls"}, "no_meter"),
    ],
)
def test_no_list_is_needed_to_know_that_padding_and_aliases_are_no_ids(
    changes: dict[str, str | None], fault: str
) -> None:
    assert faults(UNKNOWN, **changes) == {fault}


def test_several_faults_are_all_found_and_the_first_counts() -> None:
    odd = good(event_name="old", timestamp="x", payload_value="x", payload_stripe_customer_id=None)
    judged = KNOWN.judge(records([odd]))
    assert judged.select(first_fault()).item() == "archived_meter"
    assert sum(fault is not None for fault in judged.select(FAULT_COLUMNS).row(0)) == 4


def test_a_row_that_cannot_be_read_has_that_fault_alone() -> None:
    frame = records([dict.fromkeys(good())]).with_columns(pl.lit("cut_line").alias(UNREADABLE))
    assert KNOWN.judge(frame).select(FAULT_COLUMNS).row(0) == ("cut_line", *[None] * 5)


def test_later_rows_with_the_same_identifier_are_faulty() -> None:
    standard = Standard(KNOWN.catalog, KNOWN.window, repeated_rows=pl.Series([2], dtype=pl.Int64))
    judged = standard.judge(records([good(), good()]))
    assert judged["@record_fault"].to_list() == [None, "identifier_repeated"]
