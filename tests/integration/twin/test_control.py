"""The control plane over HTTP, for the processes that cannot call the twin's methods."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from fixtures.twin import Twin
from tests.integration.twin.conftest import SECRET, Endpoint
from tests.integration.twin.usage import csv, line


def _order(twin: Twin, path: str, **order: Any) -> Any:
    answer = requests.post(f"{twin.url}/_control/{path}", json=order, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _read(twin: Twin, path: str) -> requests.Response:
    return requests.get(f"{twin.url}/_control/{path}", timeout=10)


def test_a_whole_day_can_be_steered_from_outside(twin: Twin, bucket: Path, endpoint: Endpoint) -> None:
    for kind in ("snapshot", "thin"):
        _order(twin, "destinations", kind=kind, url=endpoint.url, secrets=[SECRET])
    _order(twin, "settings", sample_cap=1)
    assert _order(twin, "lag", report=0, summary=5) == {"report_lag": 0, "import_lag": 0, "summary_lag": 5}
    assert _order(twin, "customers", customers=["cus_b", {"id": "cus_c", "metadata": {"crm": "7"}}]) == {"added": 2}
    meter = _order(twin, "meters", event_name="tokens", dimension_payload_keys=["region"])
    price = _order(twin, "prices", meter=meter["id"], unit_amount_decimal="3")
    subscribed = {"customer": "cus_b", "prices": [price["id"]], "ends": 2_000_000_000}
    assert _order(twin, "subscriptions", subscriptions=[subscribed]) == {"added": 1}
    (bucket / "usage.csv").write_text(
        csv(line("a", "2", customer="cus_b"), line("b", name="tokens"), line("c", at="x"))
    )
    [import_set] = _order(twin, "poll")["import_sets"]
    assert import_set["status"] == "succeeded_with_errors"
    assert _order(twin, "publish", wait=10) == {"published": 1, "drained": True}
    assert [json.loads(text)["code"] for text in _read(twin, "refused").text.splitlines()] == [
        "missing_dimension_payload_keys"
    ]
    assert [json.loads(text)["identifier"] for text in _read(twin, "accepted").text.splitlines()] == ["a"]
    [billed] = _read(twin, "billed").json()["billed"]
    assert (billed["customer"], billed["total"], billed["records"]) == ("cus_b", "2", 1)
    assert len(_read(twin, "deliveries").text.splitlines()) == len(endpoint.received) == 2
    assert "region" not in json.dumps(meter)


def test_the_clock_is_frozen_moved_and_let_go(twin: Twin) -> None:
    assert _order(twin, "clock", freeze=1000, advance=5)["now"] == 1005
    assert _order(twin, "clock", run=True)["frozen"] is False
    assert _read(twin, "clock").json()["now"] < 1100


def test_failures_are_ordered(twin: Twin, http: requests.Session) -> None:
    rule = {"mode": "status", "status": 503, "path": "/v1/customers"}
    assert _order(twin, "fail_next", rules=[rule]) == {"waiting": 1}
    assert http.get(f"{twin.url}/v1/customers", timeout=5).status_code == 503


def test_ordered_failures_that_nobody_met_are_forgotten(twin: Twin, http: requests.Session) -> None:
    _order(twin, "fail_next", rules=[{"mode": "status", "status": 503, "path": "/v1/customers"}])
    assert _read(twin, "state").json()["failures_waiting"] == 1
    assert http.delete(f"{twin.url}/_control/fail_next", timeout=5).json() == {"waiting": 0}
    assert http.get(f"{twin.url}/v1/customers", timeout=5).status_code != 503


def test_an_event_of_ones_own_is_delivered(twin: Twin, endpoint_of_both: Endpoint) -> None:
    event = {"id": "evt_1", "object": "event", "type": "unheard.of", "data": {"object": {}}}
    assert _order(twin, "deliver", events=[event], times=2, wait=10) == {"queued": 2, "drained": True}
    assert len(endpoint_of_both.received) == 2


def test_reset_forgets_usage_and_keeps_destinations_and_settings(
    twin: Twin, bucket: Path, endpoint_of_both: Endpoint
) -> None:
    twin.configure(sample_cap=1)
    twin.clock.advance(1000)
    (bucket / "usage.csv").write_text(csv(line("a")))
    twin.poll()
    assert _order(twin, "reset")["accounts"] == {}
    assert twin.billed() == []
    assert twin.settings.sample_cap == 1
    assert len(_read(twin, "destinations").json()["destinations"]) == 2
    assert list(twin.world.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("settings", {"nonsense": 1}),
        ("fail_next", {"rules": [{"mode": "explode"}]}),
        ("destinations", {"kind": "fat", "url": "http://127.0.0.1/", "secrets": ["s"]}),
        ("destinations", {"kind": "thin", "url": "127.0.0.1", "secrets": ["s"]}),
        ("destinations", {"kind": "thin", "url": "http://127.0.0.1/", "secrets": []}),
        ("deliver", {"events": ["evt_none"]}),
        ("meters", {"event_name": "x", "formula": "median"}),
        ("deliver", {}),
    ],
)
def test_a_wrong_order_is_a_400_that_says_what_is_wrong(twin: Twin, path: str, order: dict[str, Any]) -> None:
    answer = requests.post(f"{twin.url}/_control/{path}", json=order, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_path_that_is_not_there_is_a_404(twin: Twin) -> None:
    assert _read(twin, "nonsense").status_code == 404
    assert requests.get(f"{twin.url}/_control/poll", timeout=5).status_code == 405
