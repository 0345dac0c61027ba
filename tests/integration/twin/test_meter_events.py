"""Usage by the API: accepted is not billed, a duplicate is no second record, a cancelled one none at all."""

import threading
from typing import Any

import pytest
import requests
import stripe

from fixtures.twin import Twin
from tests.integration.twin.conftest import sdk
from tests.integration.twin.usage import event, now

DAY = 86400


def _create(client: stripe.StripeClient, identifier: str = "id-1", value: str = "1", **options: Any) -> Any:
    chosen: Any = options
    return client.v1.billing.meter_events.create(event(identifier, value), chosen)


def _records(twin: Twin) -> list[tuple[str, int]]:
    return [(billed["total"], billed["records"]) for billed in twin.billed()]


def test_a_second_event_with_a_remembered_identifier_is_refused(twin: Twin, client: stripe.StripeClient) -> None:
    _create(client)
    with pytest.raises(stripe.InvalidRequestError, match="An event already exists with identifier id-1") as caught:
        _create(client, value="2")
    assert caught.value.http_status == 400
    assert _records(twin) == [("1", 1)]


def test_after_24_hours_the_same_identifier_bills_again(twin: Twin, client: stripe.StripeClient) -> None:
    """The reason why a resubmission must never be sent blindly after a day."""
    _create(client)
    twin.clock.advance(DAY + 1)
    _create(client)
    assert _records(twin) == [("2", 2)]


def test_faults_in_the_data_are_accepted_and_reported_later(twin: Twin, client: stripe.StripeClient) -> None:
    _create(client, value="1,5")
    twin.publish()
    assert [refusal.code for refusal in twin.refused()] == ["meter_event_invalid_value"]
    assert twin.events()[-1].type == "v1.billing.meter.error_report_triggered"


@pytest.mark.parametrize(
    "codes", [("meter_event_value_too_many_digits",), ("no_meter", "meter_event_invalid_value")]
)
def test_codes_that_are_set_synchronous_are_answered_at_once(
    twin: Twin, client: stripe.StripeClient, codes: tuple[str, ...]
) -> None:
    twin.configure(sync_codes=codes)
    values = {"meter_event_value_too_many_digits": "1234567890123456", "meter_event_invalid_value": "x"}
    for code in codes:
        name = "nothing" if code == "no_meter" else "calls"
        with pytest.raises(stripe.InvalidRequestError) as caught:
            client.v1.billing.meter_events.create(
                {"event_name": name, "payload": event(value=values.get(code, "1"))["payload"]}
            )
        assert caught.value.code == code
    assert twin.refused() == []


def test_a_stream_takes_a_hundred_and_judges_them_later(
    twin: Twin, client: stripe.StripeClient, http: requests.Session
) -> None:
    token = client.v2.billing.meter_event_session.create().authentication_token
    streaming = sdk(twin, http, token)
    http.auth = None
    streaming.v2.billing.meter_event_stream.create({"events": [event(f"id-{n % 99}") for n in range(100)]})
    assert _records(twin) == [("99", 99)]
    with pytest.raises(stripe.InvalidRequestError, match="At most 100"):
        streaming.v2.billing.meter_event_stream.create({"events": [event(f"n-{n}") for n in range(101)]})


def test_a_stream_token_ends_after_15_minutes(
    twin: Twin, client: stripe.StripeClient, http: requests.Session
) -> None:
    streaming = sdk(twin, http, client.v2.billing.meter_event_session.create().authentication_token)
    http.auth = None
    twin.clock.advance(15 * 60)
    with pytest.raises(stripe.TemporarySessionExpiredError):
        streaming.v2.billing.meter_event_stream.create({"events": [event()]})
    assert twin.billed() == []


def test_a_cancelled_event_is_taken_out_within_24_hours_only(twin: Twin, client: stripe.StripeClient) -> None:
    cancel = client.v1.billing.meter_event_adjustments
    for identifier in ("id-1", "id-2"):
        _create(client, identifier, "5")
    params: Any = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "id-1"}}
    cancel.create(params)
    assert _records(twin) == [("5", 1)]
    for identifier, seconds in (("id-1", 0), ("id-9", 0), ("id-2", DAY)):
        twin.clock.advance(seconds)
        with pytest.raises(stripe.InvalidRequestError, match="No meter event found"):
            cancel.create(params | {"cancel": {"identifier": identifier}})
    assert _records(twin) == [("5", 1)]


@pytest.mark.parametrize("missing", ["event_name", "payload"])
def test_a_call_without_a_required_parameter_is_a_400(twin: Twin, http: requests.Session, missing: str) -> None:
    form = {"event_name": "calls", "payload[value]": "1"}
    kept = {key: value for key, value in form.items() if not key.startswith(missing)}
    answer = http.post(f"{twin.url}/v1/billing/meter_events", data=kept, timeout=5)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, missing)


def test_the_same_key_and_parameters_get_the_same_answer_and_bill_once(twin: Twin, http: requests.Session) -> None:
    url, form = f"{twin.url}/v1/billing/meter_events", {"event_name": "calls", "payload[value]": "1"}
    form["payload[stripe_customer_id]"] = "cus_a"
    headers = {"Idempotency-Key": "key-1"}
    first, again = (http.post(url, data=form, headers=headers, timeout=5) for _ in range(2))
    assert again.text == first.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert _records(twin) == [("1", 1)]

    other = http.post(url, data={**form, "payload[value]": "2"}, headers=headers, timeout=5)
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    twin.clock.advance(DAY)
    late = http.post(url, data=form, headers=headers, timeout=5)
    assert "Idempotent-Replayed" not in late.headers
    assert _records(twin) == [("2", 2)]


def test_a_refusal_is_not_kept_under_its_key(twin: Twin, client: stripe.StripeClient) -> None:
    _create(client)
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError, match="already exists"):
            _create(client, value="2", idempotency_key="key-1")


def test_calls_that_overlap_for_one_customer_and_meter_are_turned_away(twin: Twin, http: requests.Session) -> None:
    twin.configure(call_seconds=0.5)
    twin.add_customers(["cus_b"])
    answers: dict[str, int] = {}

    def send(identifier: str, customer: str) -> None:
        form = {"event_name": "calls", "identifier": identifier, "payload[value]": "1"}
        form["payload[stripe_customer_id]"] = customer
        answer = requests.post(
            f"{twin.url}/v1/billing/meter_events", data=form, auth=("sk_test_made_up_key", ""), timeout=5
        )
        answers[identifier] = answer.status_code

    calls = [("a-1", "cus_a"), ("a-2", "cus_a"), ("b-1", "cus_b")]
    threads = [threading.Thread(target=send, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([answers["a-1"], answers["a-2"]]) == [200, 429]
    assert answers["b-1"] == 200
    assert twin.state()["overlapping_calls"] == 1


def test_summaries_follow_usage_with_a_lag(twin: Twin, client: stripe.StripeClient) -> None:
    twin.configure(summary_lag=60.0)
    [meter] = twin.account().meters
    _create(client, value="2.5")
    params: Any = {"customer": "cus_a", "start_time": now() // 60 * 60 - 60, "end_time": now() // 60 * 60 + 120}
    summaries = client.v1.billing.meters.event_summaries
    assert [summary.aggregated_value for summary in summaries.list(meter, params)] == [0.0]
    twin.clock.advance(61)
    assert [summary.aggregated_value for summary in summaries.list(meter, params)] == [2.5]


def test_summaries_are_grouped_by_windows_with_usage(twin: Twin, client: stripe.StripeClient) -> None:
    [meter] = twin.account().meters
    day = now() // DAY * DAY - 3 * DAY
    for number, offset in enumerate((0, 3600, 2 * DAY)):
        usage: Any = event(f"id-{number}", timestamp=day + offset)
        client.v1.billing.meter_events.create(usage)
    params: Any = {
        "customer": "cus_a",
        "start_time": day,
        "end_time": day + 3 * DAY,
        "value_grouping_window": "day",
        "limit": 1,
    }
    found = client.v1.billing.meters.event_summaries.list(meter, params)
    assert found.has_more
    values = [(summary.start_time, summary.aggregated_value) for summary in found.auto_paging_iter()]
    assert values == [(day + 2 * DAY, 1.0), (day, 2.0)]


def test_a_summary_begins_with_its_start_and_ends_before_its_end(twin: Twin, client: stripe.StripeClient) -> None:
    [meter] = twin.account().meters
    minute = now() // 60 * 60 - 600
    for number, timestamp in enumerate((minute - 1, minute, minute + 59, minute + 60)):
        client.v1.billing.meter_events.create(event(f"id-{number}", timestamp=timestamp))
    params: Any = {"customer": "cus_a", "start_time": minute, "end_time": minute + 60}
    found = client.v1.billing.meters.event_summaries.list(meter, params)
    assert [summary.aggregated_value for summary in found] == [2.0]


@pytest.mark.parametrize(
    "change",
    [
        {"start_time": 30},
        {"end_time": 60 * 60 + 1},
        {"start_time": 60, "value_grouping_window": "hour"},
        {"value_grouping_window": "week"},
        {"end_time": 0},
        {"customer": ""},
    ],
)
def test_a_range_that_is_not_aligned_is_a_400(
    twin: Twin, http: requests.Session, change: dict[str, int | str]
) -> None:
    [meter] = twin.account().meters
    params = {"customer": "cus_a", "start_time": 0, "end_time": 3600, **change}
    answer = http.get(f"{twin.url}/v1/billing/meters/{meter}/event_summaries", params=params, timeout=5)
    assert answer.status_code == 400
