"""What both the real adapter and the recording one promise; a test on the latter proves nothing without it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fixtures.twin import Twin
from fixtures.twin.files import add_file, finish_file
from tests.recording import RecordingStripeApi
from workers.kernel.codes import EventType
from workers.kernel.errors import Permanent
from workers.kernel.money import UnitPrice
from workers.stripe_api import LiveStripeApi, StripeApi, Summary

NOW = datetime.now(UTC).replace(microsecond=0)
CONTENTS = b"event_name,error\nhat,bad\n" * 5000


def _snapshot(name: str, minutes_ago: int, kind: str = EventType.IMPORT_SET_FAILED) -> dict[str, Any]:
    created = int((NOW - timedelta(minutes=minutes_ago)).timestamp())
    return {
        "id": name,
        "object": "event",
        "type": kind,
        "created": created,
        "livemode": False,
        "data": {"object": {}},
    }


def _thin(name: str, minutes_ago: int, related: Any = None) -> dict[str, Any]:
    created = (NOW - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "id": name, "object": "v2.core.event", "type": EventType.NO_METER_FOUND, "created": created,
        "livemode": False, "related_object": related, "data": {"reason": {"error_count": 1}},
    }  # fmt: skip


EVENTS = [
    *(_snapshot(f"evt_s{minutes}", minutes) for minutes in (3, 60, 2000, 4000)),
    _snapshot("evt_other", 30, "billing.meter.created"),
    *(_thin(f"evt_t{minutes}", minutes) for minutes in (3, 60, 2000, 4000)),
    _thin("evt_empty", 90, related={}),
]
CUSTOMERS = [
    {"id": "cus_a", "metadata": {"ref": 'Acme\'s "best"'}},
    {"id": "cus_b", "metadata": {"ref": "other"}},
    {"id": "cus_c", "metadata": {"ref": "other"}},
]


PRICES = [
    UnitPrice("usd", Decimal("0.5"), Decimal("0.5")),
    UnitPrice("usd", Decimal(0), Decimal(2)),
    UnitPrice("jpy", Decimal("0.25"), Decimal("0.25")),
]
"""Per unit; by tiers, of which the first is free; per package of four."""


def _seed_billing(twin: Twin, meter: str) -> None:
    per_unit = twin.add_price(meter, unit_amount_decimal="0.5")
    free_first: list[dict[str, Any]] = [
        {"up_to": 10, "flat_amount": 900},
        {"up_to": None, "unit_amount_decimal": "2"},
    ]
    twin.add_price(meter, tiers=[{"unit_amount_decimal": None, **tier} for tier in free_first])
    twin.add_price(meter, currency="jpy", unit_amount_decimal="1", transform_quantity={"divide_by": 4})
    twin.add_price(meter, unit_amount_decimal="9", active=False)
    for days in (9, 3):
        twin.add_subscription("cus_a", [per_unit["id"]], int((NOW + timedelta(days=days)).timestamp()))


def _seed_twin(twin: Twin) -> dict[str, Any]:
    active = twin.add_meter("calls")
    inactive = {**twin.add_meter("old"), "status": "inactive"}
    twin.add_customers([*CUSTOMERS, "cus_gone"])
    _seed_billing(twin, active["id"])
    account = twin.account()
    account.meters[inactive["id"]]["status"] = "inactive"
    account.customers.pop("cus_gone")
    account.deleted_customers.add("cus_gone")
    for event in EVENTS:
        twin.deliver([event])
        account.events[event["id"]].created = _moment(event["created"])
    account.events = dict(sorted(account.events.items(), key=lambda item: item[1].created))
    file, path = add_file(twin.world, account, "failed.csv", "import_errors")
    path.write_bytes(CONTENTS)
    finish_file(twin.world, file)
    return {"meters": [active, inactive], "file": file["id"]}


def _moment(created: Any) -> float:
    return datetime.fromisoformat(created).timestamp() if isinstance(created, str) else float(created)


def _recording(seeded: dict[str, Any]) -> RecordingStripeApi:
    start = NOW.replace(second=0) - timedelta(minutes=5)
    return RecordingStripeApi(
        events=list(EVENTS),
        meters=seeded["meters"],
        customers=[*CUSTOMERS, {"id": "cus_gone", "deleted": True}],
        prices={seeded["meters"][0]["id"]: PRICES},
        periods={"cus_a": NOW + timedelta(days=3)},
        files={seeded["file"]: ("failed.csv", CONTENTS)},
        summaries={
            (seeded["meters"][0]["id"], "cus_a"): [Summary(start, start + timedelta(minutes=9), Decimal("2.5"))]
        },
    )


@pytest.fixture
def seeded(twin: Twin) -> dict[str, Any]:
    return _seed_twin(twin)


@pytest.fixture(params=["twin", "recording"])
def api(request: pytest.FixtureRequest, seeded: dict[str, Any], live: LiveStripeApi) -> StripeApi:
    return live if request.param == "twin" else _recording(seeded)


def test_a_thin_event_is_fetched_with_its_data(api: StripeApi) -> None:
    assert api.fetch_event("evt_t3", None)["data"]["reason"]["error_count"] == 1


def test_a_thin_event_about_nothing_is_fetched_too(api: StripeApi) -> None:
    """The SDK's typed parsing raises on both; the case behind it would be lost."""
    assert api.fetch_event("evt_t60", None)["related_object"] is None
    assert api.fetch_event("evt_empty", None)["related_object"] == {}


def test_an_event_that_does_not_exist_is_a_permanent_error(api: StripeApi) -> None:
    with pytest.raises(Permanent):
        api.fetch_event("evt_none", None)


def test_events_are_listed_oldest_first_and_only_from_the_time_asked(api: StripeApi) -> None:
    since = NOW - timedelta(minutes=3000)
    snapshots = [event["id"] for event in api.snapshot_events([EventType.IMPORT_SET_FAILED], since, None)]
    thin = [event["id"] for event in api.thin_events([EventType.NO_METER_FOUND], since, None)]
    assert snapshots == ["evt_s2000", "evt_s60", "evt_s3"]
    assert thin == ["evt_t2000", "evt_empty", "evt_t60", "evt_t3"]


def test_meters_are_found_active_and_inactive(api: StripeApi, seeded: dict[str, Any]) -> None:
    assert {meter["status"] for meter in api.list_meters(None)} == {"active", "inactive"}
    found = api.fetch_meter(seeded["meters"][0]["id"], None)
    assert found is not None
    assert found["event_name"] == "calls"
    assert api.fetch_meter("mtr_none", None) is None


def test_only_customers_who_are_there_exist(api: StripeApi) -> None:
    """A deleted customer still answers at Stripe; to bill one is to bill nobody."""
    asked = ["cus_a", "cus_b", "cus_gone", "cus_none", "", " ", "../meters", "cus a", "acct_1none"]
    found = api.find_customers(asked, None)
    assert {name: one.deleted for name, one in found.items()} == {"cus_a": False, "cus_b": False, "cus_gone": True}


def test_customers_are_found_by_metadata_with_any_quotes_in_it(api: StripeApi) -> None:
    assert api.search_customers("ref", 'Acme\'s "best"', None) == ["cus_a"]
    assert sorted(api.search_customers("ref", "other", None)) == ["cus_b", "cus_c"]
    assert api.search_customers("ref", "nobody", None) == []


def test_a_file_is_named_and_downloaded_whole(api: StripeApi, seeded: dict[str, Any], tmp_path: Path) -> None:
    assert api.file_name(seeded["file"], None) == "failed.csv"
    api.download_file(seeded["file"], None, tmp_path / "failed", 10**6)
    assert (tmp_path / "failed").read_bytes() == CONTENTS


def test_a_file_over_the_cap_leaves_nothing(api: StripeApi, seeded: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="larger than"):
        api.download_file(seeded["file"], None, tmp_path / "failed", len(CONTENTS) - 1)
    assert list(tmp_path.iterdir()) == []


def _event(identifier: str, value: str) -> dict[str, Any]:
    payload = {"stripe_customer_id": "cus_a", "value": value}
    timestamp = int((NOW - timedelta(minutes=4)).timestamp())
    return {"event_name": "calls", "identifier": identifier, "timestamp": timestamp, "payload": payload}


def test_usage_is_recorded_summed_and_cancelled(api: StripeApi, seeded: dict[str, Any]) -> None:
    assert api.create_meter_event(_event("id-1", "2.5"), "key-1", None).error is None
    start = NOW - timedelta(minutes=4, seconds=7)
    summaries = api.event_summaries(seeded["meters"][0]["id"], "cus_a", start, NOW, None)
    assert sum(summary.value for summary in summaries) == Decimal("2.5")
    assert api.cancel_meter_event("calls", "id-1", None)["status"] == "pending"


def test_the_same_call_again_is_no_second_record(api: StripeApi) -> None:
    first, again = (api.create_meter_event(_event("id-2", "1"), "key-2", None) for _ in range(2))
    assert first.error is None
    assert again.error is None


def test_another_call_with_a_known_identifier_is_refused_as_existing(api: StripeApi) -> None:
    api.create_meter_event(_event("id-3", "1"), "key-3", None)
    second = api.create_meter_event(_event("id-3", "1"), "another-key", None)
    assert second.error is not None
    assert "already exists with identifier id-3" in second.error["message"]
    assert not second.asked_before


def test_what_the_stream_knows_is_passed_over_without_a_word(api: StripeApi) -> None:
    """A repetition that was refused would get another identifier, and bill twice."""
    written = (NOW - timedelta(minutes=4)).isoformat()
    events = [{**_event(name, "2"), "timestamp": written} for name in ("id-5", "id-6")]
    assert api.stream_meter_events(events[:1], None).error is None
    assert api.stream_meter_events(events, None).error is None
    for name in ("id-5", "id-6"):
        error = api.create_meter_event(_event(name, "2"), f"key-{name}", None).error
        assert f"already exists with identifier {name}" in (error or {})["message"]


def test_a_meter_has_what_one_more_unit_costs_by_each_active_price(api: StripeApi, seeded: dict[str, Any]) -> None:
    assert sorted(api.meter_prices(seeded["meters"][0]["id"], None), key=str) == sorted(PRICES, key=str)
    assert api.meter_prices(seeded["meters"][1]["id"], None) == []


def test_a_customer_has_the_end_of_the_first_of_his_metered_periods(api: StripeApi) -> None:
    assert api.period_end("cus_a", None) == NOW + timedelta(days=3)
    assert api.period_end("cus_b", None) is None
    assert api.period_end("cus_none", None) is None
