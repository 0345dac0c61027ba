"""Lists of events, by which what was never delivered is found again: no page may skip one."""

from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import stripe

from fixtures.twin import Twin
from tests.integration.twin.conftest import sdk

DAY = 86400
START = 1_795_176_000.0


@pytest.fixture
def events(twin: Twin) -> list[str]:
    """25 events of each style, a second apart."""
    twin.reset()
    twin.clock.freeze(START)
    for number in range(25):
        twin.clock.advance(1)
        twin.add_meter(f"meter-{number}")
    return [event.id for event in twin.events()]


def _of(twin: Twin, kind: str) -> list[str]:
    return [event.id for event in twin.events() if event.kind == kind]


def test_snapshot_events_page_backwards_in_the_order_they_happened(
    twin: Twin, client: stripe.StripeClient, events: list[str]
) -> None:
    ids = _of(twin, "snapshot")
    params: Any = {"ending_before": ids[0], "limit": 4}
    assert [event.id for event in client.v1.events.list(params).auto_paging_iter()] == ids[1:]
    assert [event.id for event in client.v1.events.list({"limit": 7}).auto_paging_iter()] == ids[::-1]


def test_thin_events_page_by_the_url_that_the_page_names(
    twin: Twin, client: stripe.StripeClient, events: list[str]
) -> None:
    params: Any = {"limit": 4, "types": ["v1.billing.meter.created"]}
    found = client.v2.core.events.list(params).auto_paging_iter()
    assert [event.id for event in found] == _of(twin, "thin")[::-1]


def test_thin_events_are_filtered_by_type_object_and_time(
    twin: Twin, client: stripe.StripeClient, events: list[str]
) -> None:
    meter = list(twin.account().meters)[3]
    since = datetime.fromtimestamp(START + 20, UTC).isoformat()
    cases: list[tuple[Any, int]] = [
        ({"types": ["v1.billing.meter.updated"]}, 0),
        ({"object_id": meter}, 1),
        ({"created": {"gt": since}}, 5),
        ({"created": {"lte": since}, "limit": 100}, 20),
    ]
    for params, count in cases:
        assert len(client.v2.core.events.list(params).data) == count


def test_events_are_kept_for_30_days(twin: Twin, client: stripe.StripeClient, events: list[str]) -> None:
    twin.clock.advance(30 * DAY - 10)
    assert len(client.v1.events.list({"limit": 100}).data) == 11
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        client.v2.core.events.retrieve(_of(twin, "thin")[0])


def test_a_connected_accounts_event_is_seen_only_in_its_context(
    twin: Twin, client: stripe.StripeClient, http: requests.Session
) -> None:
    twin.add_meter("tokens", account="acct_1")
    [event] = [event for event in twin.events("acct_1") if event.kind == "thin"]
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        client.v2.core.events.retrieve(event.id)
    assert client.v2.core.events.retrieve(event.id, options={"stripe_context": "acct_1"}).id == event.id
    assert sdk(twin, http).v1.events.list(options={"stripe_account": "acct_1"}).data[0].account == "acct_1"
