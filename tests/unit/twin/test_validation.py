"""Each of Stripe's eleven codes, and the edges where a record is still good."""

import pytest

from fixtures.twin.validation import CODES, MAX_AHEAD, MAX_PAST, Catalog, MeterRules, Row, judge

NOW = 1_795_176_000
METERS = {
    "calls": MeterRules("mtr_calls", True, "stripe_customer_id", "value", ()),
    "old": MeterRules("mtr_old", False, "stripe_customer_id", "value", ()),
    "tokens": MeterRules("mtr_tokens", True, "who", "tokens", ("region",)),
}
CATALOG = Catalog(METERS, {"cus_a": {}}, NOW, max_dimensions=2)
GOOD = {"stripe_customer_id": "cus_a", "value": "1"}
TOKENS = {"who": "cus_a", "tokens": "1"}


def _row(event_name: str = "calls", timestamp: int = NOW, payload: dict[str, str] | None = None) -> Row:
    return Row("id-1", timestamp, event_name, GOOD if payload is None else payload)


REFUSED = {
    "no_meter": _row("Calls"),
    "archived_meter": _row("old"),
    "timestamp_too_far_in_past": _row(timestamp=NOW - MAX_PAST - 1),
    "timestamp_in_future": _row(timestamp=NOW * 1000),
    "meter_event_no_customer_defined": _row(payload={"value": "1"}),
    "meter_event_customer_not_found": _row(payload={**GOOD, "stripe_customer_id": " cus_a"}),
    "meter_event_value_not_found": _row(payload={"stripe_customer_id": "cus_a"}),
    "meter_event_invalid_value": _row(payload={**GOOD, "value": "1e3"}),
    "meter_event_value_too_many_digits": _row(payload={**GOOD, "value": "1.000000000000000"}),
    "meter_event_dimension_count_too_high": _row(payload={**GOOD, "a": "1", "b": "2", "c": "3"}),
    "missing_dimension_payload_keys": _row("tokens", payload=TOKENS),
}


def test_there_is_a_case_for_every_code() -> None:
    assert set(REFUSED) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_faulty_row_is_refused_with_its_code(code: str) -> None:
    fault = judge(REFUSED[code], CATALOG)
    assert fault is not None
    assert fault.code == code
    assert (fault.meter is None) == (code == "no_meter")


@pytest.mark.parametrize(
    "row",
    [
        _row(timestamp=NOW - MAX_PAST),
        _row(timestamp=NOW + MAX_AHEAD),
        _row(payload={**GOOD, "value": "-0012.50"}),
        _row(payload={**GOOD, "value": "000123456789.012345"}),
        _row(payload={**GOOD, "a": "1", "b": "2"}),
        _row("tokens", payload={**TOKENS, "region": "eu"}),
    ],
)
def test_a_row_on_the_edge_is_accepted(row: Row) -> None:
    assert judge(row, CATALOG) is None


@pytest.mark.parametrize("value", ["+1", "1.", ".5", "1,234", "1 ", "NaN", "１", "0x1", "--1", "1\n"])  # noqa: RUF001
def test_text_that_is_no_plain_decimal_is_an_invalid_value(value: str) -> None:
    fault = judge(_row(payload={**GOOD, "value": value}), CATALOG)
    assert fault is not None
    assert fault.code == "meter_event_invalid_value"
