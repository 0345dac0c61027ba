"""Meters, customers and keys, as the SDK asks for them."""

from typing import Any

import pytest
import requests
import stripe

from fixtures.twin import Twin


def test_a_meter_lives_from_creation_to_archive_and_back(twin: Twin, client: stripe.StripeClient) -> None:
    meters = client.v1.billing.meters
    params: Any = {"display_name": "Tokens", "event_name": "tokens", "default_aggregation": {"formula": "last"}}
    meter = meters.create(params | {"customer_mapping": {"type": "by_id", "event_payload_key": "who"}})
    assert meters.update(meter.id, {"display_name": "LLM tokens"}).display_name == "LLM tokens"
    assert meters.deactivate(meter.id).status_transitions.deactivated_at
    assert [found.event_name for found in meters.list({"status": "active"})] == ["calls"]
    assert meters.reactivate(meter.id).status == "active"
    told = [event.type for event in twin.events() if event.body.get("related_object", {}).get("id") == meter.id]
    assert told == [f"v1.billing.meter.{change}" for change in ("created", "updated", "deactivated", "reactivated")]


def test_one_event_name_belongs_to_one_active_meter(twin: Twin, client: stripe.StripeClient) -> None:
    params: Any = {"display_name": "x", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        client.v1.billing.meters.create(params)
    [meter] = twin.account().meters
    client.v1.billing.meters.deactivate(meter)
    client.v1.billing.meters.create(params)
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        client.v1.billing.meters.reactivate(meter)


@pytest.mark.parametrize("missing", ["display_name", "event_name", "default_aggregation"])
def test_a_meter_without_a_required_parameter_is_refused(client: stripe.StripeClient, missing: str) -> None:
    params: Any = {"display_name": "x", "event_name": "x", "default_aggregation": {"formula": "sum"}}
    del params[missing]
    with pytest.raises(stripe.InvalidRequestError, match=missing):
        client.v1.billing.meters.create(params)


def test_a_customer_is_found_by_its_metadata(twin: Twin, client: stripe.StripeClient) -> None:
    made = [client.v1.customers.create({"metadata": {"crm": "42", "n": str(n)}, "name": "A"}).id for n in range(3)]
    query = "metadata['crm']:'42' AND name:'A'"
    found = client.v1.customers.search({"query": query, "limit": 2})
    assert [customer.id for customer in found.auto_paging_iter()] == made[::-1]
    assert client.v1.customers.search({"query": 'metadata["n"]:"1"'}).data[0].id == made[1]
    with pytest.raises(stripe.InvalidRequestError, match="unable to parse"):
        client.v1.customers.search({"query": "crm is 42"})


def test_a_deleted_customer_answers_as_deleted_and_usage_for_it_is_refused(
    twin: Twin, client: stripe.StripeClient
) -> None:
    client.v1.customers.delete("cus_a")
    assert client.v1.customers.retrieve("cus_a").deleted is True
    assert client.v1.customers.list().data == []
    client.v1.billing.meter_events.create(
        {"event_name": "calls", "payload": {"stripe_customer_id": "cus_a", "value": "1"}}
    )
    assert [refusal.code for refusal in twin.refused()] == ["meter_event_customer_not_found"]


@pytest.mark.parametrize("path", ["billing/meters/mtr_x", "customers/cus_x", "events/evt_x", "files/file_x"])
def test_what_does_not_exist_is_a_404_of_stripes_shape(twin: Twin, http: requests.Session, path: str) -> None:
    answer = http.get(f"{twin.url}/v1/{path}", timeout=5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "resource_missing")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer sk_live_made_up"}, {"Authorization": "Bearer nonsense"}],
)
def test_a_call_without_a_key_of_this_mode_is_a_401(twin: Twin, headers: dict[str, str]) -> None:
    answer = requests.get(f"{twin.url}/v1/billing/meters", headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_request_error")


def test_a_path_or_a_body_that_stripe_does_not_know_is_told_in_its_shape(
    twin: Twin, http: requests.Session
) -> None:
    assert http.get(f"{twin.url}/v1/nonsense", timeout=5).json()["error"]["message"].startswith("Unrecognized")
    assert http.put(f"{twin.url}/v1/customers", timeout=5).status_code == 405
    assert http.post(f"{twin.url}/v2/billing/meter_events", data="{", timeout=5).status_code == 400
    assert http.post(f"{twin.url}/v2/billing/meter_events", json=[], timeout=5).status_code == 400
