"""Deliveries as Stripe makes them: signed, repeated, late, twice, out of order, and told of afterwards."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from fixtures.twin import Twin
from tests.integration.twin.conftest import SECRET, Endpoint
from tests.integration.twin.usage import csv, line

SUCCEEDED = "data_management.import_set.succeeded"


def _import(twin: Twin, folder: Path, *lines: str) -> None:
    path = folder / f"upload-{len(twin.account().import_sets)}.csv"
    path.write_text(csv(*lines))
    twin.import_file(path)
    twin.publish()


def _bodies(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in endpoint.received]


def test_both_kinds_arrive_signed_and_the_thin_one_without_its_data(
    twin: Twin, endpoint_of_both: Endpoint, tmp_path: Path
) -> None:
    _import(twin, tmp_path, line("a"), line("b", "x"))
    assert twin.drained()
    for headers, body in endpoint_of_both.received:
        stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], SECRET, 300)
        assert "v0=" in headers["Stripe-Signature"]
    thin, snapshot = sorted(_bodies(endpoint_of_both), key=lambda body: body["object"], reverse=True)
    assert "data" not in thin
    assert snapshot["data"]["object"]["object"] == "data_management.import_set"


def test_a_rolled_secret_signs_beside_the_new_one(twin: Twin, endpoint: Endpoint, tmp_path: Path) -> None:
    twin.add_destination("snapshot", endpoint.url, "whsec_old", "whsec_new")
    _import(twin, tmp_path, line("a"))
    assert twin.drained()
    [(headers, body)] = endpoint.received
    for secret in ("whsec_old", "whsec_new"):
        stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], secret, 300)


def test_a_skewed_clock_signs_too_old_a_time(twin: Twin, endpoint_of_both: Endpoint, tmp_path: Path) -> None:
    twin.configure(signature_skew=-600)
    _import(twin, tmp_path, line("a"))
    assert twin.drained()
    [(headers, body)] = endpoint_of_both.received
    with pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], SECRET, 300)


@pytest.mark.parametrize("refused", [[500], [404, 301], [503, 500, 429]])
def test_an_event_is_delivered_again_until_it_is_taken(
    twin: Twin, endpoint_of_both: Endpoint, tmp_path: Path, refused: list[int]
) -> None:
    endpoint_of_both.answers = refused.copy()
    _import(twin, tmp_path, line("a"))
    assert twin.drained()
    assert [attempt.status for attempt in twin.world.deliveries.log] == [*refused, 200]
    assert len({body["id"] for body in _bodies(endpoint_of_both)}) == 1


def test_what_was_never_taken_is_listed_as_undelivered(
    twin: Twin, client: stripe.StripeClient, endpoint_of_both: Endpoint, tmp_path: Path
) -> None:
    """The list by which `reconcile` finds what our outage missed."""
    twin.configure(max_attempts=2)
    endpoint_of_both.answers = [200, 500, 500]
    _import(twin, tmp_path, line("a"))
    assert twin.drained()
    _import(twin, tmp_path, line("b"))
    assert twin.drained()
    listed = {
        wanted: [event.id for event in client.v1.events.list({"delivery_success": wanted, "types": [SUCCEEDED]})]
        for wanted in (True, False)
    }
    taken, missed = (event.id for event in twin.events() if event.type == SUCCEEDED)
    assert listed == {True: [taken], False: [missed]}
    assert client.v1.events.retrieve(missed).pending_webhooks == 1


def test_an_endpoint_that_answers_too_late_has_not_taken_it(
    twin: Twin, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([0.6, 0.0])
    take = Endpoint.take

    def slow(self: Endpoint, headers: Any, body: bytes) -> int:
        time.sleep(next(answers))
        return take(self, headers, body)

    monkeypatch.setattr(Endpoint, "take", slow)
    twin.configure(delivery_timeout=0.2)
    twin.add_destination("snapshot", endpoint.url, SECRET)
    _import(twin, tmp_path, line("a"))
    assert twin.drained()
    assert [attempt.status for attempt in twin.world.deliveries.log] == [0, 200]


def test_a_destination_gets_only_the_types_it_asked_for(twin: Twin, endpoint: Endpoint, tmp_path: Path) -> None:
    twin.add_destination("snapshot", endpoint.url, SECRET, types=["billing.meter.created"])
    twin.add_destination("thin", endpoint.url, SECRET, types=["*"])
    _import(twin, tmp_path, line("a"))
    twin.add_meter("tokens")
    assert twin.drained()
    assert sorted(body["type"] for body in _bodies(endpoint)) == [
        "billing.meter.created",
        "v1.billing.meter.created",
    ]


def test_events_come_up_to_five_times_and_out_of_order(twin: Twin, endpoint: Endpoint, tmp_path: Path) -> None:
    twin.add_destination("snapshot", endpoint.url, SECRET)
    twin.configure(duplicates=5, reorder_seconds=0.3)
    for number in range(20):
        _import(twin, tmp_path, line(f"id-{number}"))
    assert twin.drained()
    order = [body["id"] for body in _bodies(endpoint)]
    published = [event.id for event in twin.events() if event.type == SUCCEEDED]
    times = {order.count(event) for event in published}
    assert set(order) == set(published)
    assert min(times) >= 1
    assert 1 < max(times) <= 5
    assert list(dict.fromkeys(order)) != published


def test_one_change_may_be_told_by_two_distinct_events(
    twin: Twin, endpoint_of_both: Endpoint, tmp_path: Path
) -> None:
    twin.configure(double_event_chance=1.0)
    _import(twin, tmp_path, line("a"))
    assert twin.drained()
    first, second = _bodies(endpoint_of_both)
    assert first["id"] != second["id"]
    assert first["data"] == second["data"]


def test_an_event_is_delivered_again_on_request(
    twin: Twin, endpoint_of_both: Endpoint, http: requests.Session, tmp_path: Path
) -> None:
    _import(twin, tmp_path, line("a"))
    [event] = [event for event in twin.events() if event.type == SUCCEEDED]
    assert twin.deliver([event.id], times=2) == 2
    retry = f"{twin.url}/v1/events/{event.id}/retry"
    assert http.post(retry, timeout=5).json()["id"] == event.id
    http.post(retry, data={"for_stripecli": "true"}, timeout=5)  # nobody listens, and it is for nobody else
    assert twin.drained()
    assert [body["id"] for body in _bodies(endpoint_of_both)] == [event.id] * 4


def test_any_event_object_can_be_delivered_and_is_then_there_to_fetch(
    twin: Twin, client: stripe.StripeClient, endpoint_of_both: Endpoint
) -> None:
    path = Path("fixtures/events/v1.billing.meter.error_report_triggered__several_codes_sampled__fetched.json")
    body = json.loads((Path(__file__).parents[3] / path).read_text())
    assert twin.deliver([body]) == 1
    assert twin.drained()
    assert "data" not in _bodies(endpoint_of_both)[0]
    assert client.v2.core.events.retrieve(body["id"]).to_dict()["data"] == body["data"]


def test_a_ping_arrives_and_can_be_fetched(twin: Twin, client: stripe.StripeClient, endpoint: Endpoint) -> None:
    destination = twin.add_destination("thin", endpoint.url, SECRET)
    pinged = client.v2.core.event_destinations.ping(destination.id)
    assert twin.drained()
    [(headers, body)] = endpoint.received
    notification = client.parse_event_notification(body, headers["Stripe-Signature"], SECRET)
    assert (notification.type, notification.id) == ("v2.core.event_destination.ping", pinged.id)
    assert notification.fetch_event().id == pinged.id


def test_a_removed_destination_is_tried_no_more(twin: Twin, endpoint_of_both: Endpoint, tmp_path: Path) -> None:
    twin.configure(retry_seconds=30.0)
    endpoint_of_both.answers = [500]
    _import(twin, tmp_path, line("a"))
    for identity in list(twin.world.deliveries.destinations):
        twin.remove_destination(identity)
    assert twin.drained(5)
    assert len(endpoint_of_both.received) <= 1


def test_a_full_endpoint_holds_up_no_api_call(twin: Twin, http: requests.Session, endpoint: Endpoint) -> None:
    twin.add_destination("thin", "http://127.0.0.1:9/", SECRET, types=["*"])
    for number in range(50):
        twin.add_meter(f"meter-{number}")
    begun = time.monotonic()
    assert http.get(f"{twin.url}/v1/billing/meters", timeout=5).status_code == 200
    assert time.monotonic() - begun < 1
