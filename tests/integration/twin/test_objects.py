"""Every object that the twin answers with is one that the SDK declares, down to the last key."""

from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from fixtures.twin import Twin
from tests.integration.twin.usage import csv, event, line, now
from tests.unit.fixtures.sdk_shape import foreign_keys

CANCEL = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "id-1"}}
HOUR = 3600


@pytest.fixture
def seeded(twin: Twin, bucket: Path) -> Twin:
    (bucket / "usage.csv").write_text(csv(line("a"), line("b", "x"), line("c", at="x"), line("d", name="none")))
    twin.poll()
    twin.publish()
    twin.add_destination("thin", "http://127.0.0.1:1/", "whsec_made_up")
    return twin


def _get(twin: Twin, http: requests.Session, path: str) -> dict[str, Any]:
    answer = http.get(twin.url + path, timeout=5)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/billing/meters",
        "/v1/billing/meters/{meter}",
        "/v1/billing/meters/{meter}/event_summaries?customer=cus_a&start_time={start}&end_time={end}",
        "/v1/customers",
        "/v1/customers/cus_a",
        "/v1/customers/search?query=metadata['a']:'b'",
        "/v1/files",
        "/v1/files/{file}",
        "/v2/core/accounts/cus_a",
        "/v2/core/event_destinations/{destination}",
    ],
)
def test_what_is_read_has_no_key_that_its_sdk_class_lacks(seeded: Twin, http: requests.Session, path: str) -> None:
    account = seeded.account()
    values = {
        "meter": next(iter(account.meters)),
        "file": next(iter(account.files)),
        "destination": next(iter(seeded.world.deliveries.destinations)),
        "start": now() // HOUR * HOUR - HOUR,
        "end": now() // HOUR * HOUR + HOUR,
    }
    assert foreign_keys(_get(seeded, http, path.format(**values))) == set()


def test_events_have_only_the_keys_that_stripe_documents(seeded: Twin, http: requests.Session) -> None:
    """Import sets are in no SDK, and the SDK's no-meter event forgets `related_object`."""
    snapshots = _get(seeded, http, "/v1/events?limit=100")
    assert foreign_keys(snapshots) == {"data.data.object (no class)"}
    thin = _get(seeded, http, "/v2/core/events?limit=100")
    assert foreign_keys(thin) == {"data.related_object"}
    for page, path in ((snapshots, "/v1/events/"), (thin, "/v2/core/events/")):
        assert [_get(seeded, http, path + event["id"]) for event in page["data"]] == page["data"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/billing/meter_events", None),
        ("/v2/billing/meter_events", event("id-2")),
        ("/v2/billing/meter_event_session", {}),
        ("/v2/billing/meter_event_adjustments", CANCEL),
    ],
)
def test_what_is_created_has_no_key_that_its_sdk_class_lacks(
    twin: Twin, http: requests.Session, path: str, body: dict[str, Any] | None
) -> None:
    form = {
        "event_name": "calls",
        "identifier": "id-1",
        "payload[stripe_customer_id]": "cus_a",
        "payload[value]": "1",
    }
    first = http.post(f"{twin.url}/v1/billing/meter_events", data=form, timeout=5)
    answer = first if body is None else http.post(twin.url + path, json=body, timeout=5)
    assert answer.status_code == 200, answer.text
    assert foreign_keys(answer.json()) == set()


def test_an_adjustment_of_v1_and_a_file_of_the_sdk_have_no_foreign_key(
    twin: Twin, client: stripe.StripeClient, tmp_path: Path
) -> None:
    client.v1.billing.meter_events.create(
        {"event_name": "calls", "identifier": "id-1", "payload": event()["payload"]}
    )
    adjustment = client.v1.billing.meter_event_adjustments.create(
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "id-1"}}
    )
    (tmp_path / "usage.csv").write_text("a,b\n")
    with (tmp_path / "usage.csv").open("rb") as upload:
        file = client.v1.files.create({"purpose": "dispute_evidence", "file": upload})
    assert (file.filename, file.size) == ("usage.csv", 4)
    assert foreign_keys(adjustment.to_dict()) | foreign_keys(file.to_dict()) == set()
    assert twin.billed()[0]["records"] == 0


@pytest.mark.parametrize("livemode", [False, True])
def test_the_mode_shows_in_every_object_and_the_keys_of_the_other_are_refused(livemode: bool) -> None:
    with Twin(livemode=livemode) as twin:
        meter = twin.add_meter("calls")
        assert meter["livemode"] is livemode
        assert meter["id"].startswith("mtr_test_") is not livemode
        assert {event.body["livemode"] for event in twin.events()} == {livemode}
        statuses = [
            requests.get(f"{twin.url}/v1/billing/meters", auth=(key, ""), timeout=5).status_code
            for key in ("sk_test_made_up_key", "sk_live_made_up_key")
        ]
        assert statuses == ([401, 200] if livemode else [200, 401])


def test_the_same_seed_gives_the_same_ids(bucket: Path) -> None:
    made = []
    for seed in (7, 7, 8):
        with Twin(seed=seed) as twin:
            made.append([twin.add_meter("calls")["id"], *(event.id for event in twin.events())])
    assert made[0] == made[1]
    assert not set(made[0]) & set(made[2])
