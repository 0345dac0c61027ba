"""If these fail, Stripe has a reason for refusing usage that nothing here answers to."""

import inspect
import re

import pytest
import stripe.events

from workers.kernel.codes import Code, EventType
from workers.remedies.codes import REMEDIES, stripes_codes

DOCUMENTED = {
    "meter_event_customer_not_found",
    "meter_event_no_customer_defined",
    "meter_event_dimension_count_too_high",
    "archived_meter",
    "timestamp_too_far_in_past",
    "timestamp_in_future",
    "meter_event_value_not_found",
    "meter_event_invalid_value",
    "no_meter",
}
"""Stripe docs, 'Record usage in bulk', handle meter event errors."""

REPORTS = {
    EventType.ERROR_REPORT_TRIGGERED: stripe.events.V1BillingMeterErrorReportTriggeredEvent,
    EventType.NO_METER_FOUND: stripe.events.V1BillingMeterNoMeterFoundEvent,
}


def codes_of(event: type) -> set[str]:
    """The `code` enum stands in the SDK's source only: in an annotation that the SDK never evaluates."""
    module = inspect.getmodule(event)
    assert module
    enum = re.search(r"code: Union\[\s*Literal\[([^\]]+)\]", inspect.getsource(module))
    assert enum, "the SDK writes its enum in another way now"
    return set(re.findall(r'"([a-z_]+)"', enum[1]))


@pytest.mark.parametrize("event_type", REPORTS)
def test_every_code_of_the_sdk_is_known(event_type: EventType) -> None:
    codes = codes_of(REPORTS[event_type])
    assert len(codes) > 5
    assert codes <= set(stripes_codes())


def test_every_documented_code_is_known() -> None:
    assert set(stripes_codes()) >= DOCUMENTED


def test_every_code_that_is_spoken_of_by_name_has_its_remedy() -> None:
    assert set(REMEDIES) >= set(Code)
