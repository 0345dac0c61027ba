"""Failures on order: each is what a client of Stripe's may meet, and each ends."""

import time
from typing import Any

import pytest
import requests

from fixtures.twin import Twin

METERS = "/v1/billing/meters"
EVENTS = "/v1/billing/meter_events"
USAGE = {
    "event_name": "calls",
    "identifier": "id-1",
    "payload[stripe_customer_id]": "cus_a",
    "payload[value]": "1",
}


def _send(twin: Twin, http: requests.Session, timeout: float = 5) -> requests.Response:
    return http.post(twin.url + EVENTS, data=USAGE, timeout=timeout)


def _accepted(twin: Twin) -> int:
    return len(list(twin.accepted()))


def test_a_rate_limit_names_its_reason_and_is_over_when_used_up(twin: Twin, http: requests.Session) -> None:
    twin.fail_next("status", status=429, reason="endpoint-rate", path=EVENTS, times=2)
    answers = [_send(twin, http) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert _accepted(twin) == 1


def test_a_server_error_takes_nothing(twin: Twin, http: requests.Session) -> None:
    twin.fail_next("status")
    assert _send(twin, http).json()["error"]["type"] == "api_error"
    assert _accepted(twin) == 0


@pytest.mark.parametrize(("mode", "accepted"), [("cut_before", 0), ("cut_after", 1)])
def test_a_cut_connection_leaves_open_whether_it_was_taken(
    twin: Twin, http: requests.Session, mode: str, accepted: int
) -> None:
    twin.fail_next(mode)
    with pytest.raises(requests.ConnectionError):
        _send(twin, http)
    assert _accepted(twin) == accepted


@pytest.mark.parametrize(("mode", "accepted"), [("hang", 0), ("slow", 1)])
def test_a_late_answer_leaves_open_whether_it_was_taken(
    twin: Twin, http: requests.Session, mode: str, accepted: int
) -> None:
    twin.fail_next(mode, seconds=30)
    with pytest.raises(requests.ReadTimeout):
        _send(twin, http, timeout=0.3)
    assert _accepted(twin) == accepted


def test_a_download_breaks_off_halfway(twin: Twin, http: requests.Session, tmp_path: Any) -> None:
    (tmp_path / "usage.csv").write_text("x" * 100_000)
    import_set = twin.import_file(tmp_path / "usage.csv")
    url = f"{twin.url}/v1/files/{import_set['file']}/contents"
    twin.fail_next("truncate", path="/v1/files/*/contents")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="50000"):
        http.get(url, timeout=5)
    assert len(http.get(url, timeout=5).content) == 100_000


def test_a_fault_waits_for_its_method_its_path_and_its_turn(twin: Twin, http: requests.Session) -> None:
    twin.fail_next("status", method="POST", path="/v1/billing/*", after=1)
    assert http.get(twin.url + METERS, timeout=5).status_code == 200
    assert _send(twin, http).status_code == 200
    assert twin.faults.left() == 1
    assert _send(twin, http).status_code == 500
    assert twin.faults.left() == 0


def test_the_control_plane_never_fails(twin: Twin, http: requests.Session) -> None:
    twin.fail_next("status", times=3)
    assert http.get(f"{twin.url}/_control/state", timeout=5).status_code == 200


def test_a_hanging_call_does_not_hold_up_the_end() -> None:
    with Twin() as twin:
        twin.fail_next("hang", seconds=60)
        with pytest.raises(requests.ReadTimeout):
            requests.get(twin.url + METERS, timeout=0.2)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5


def test_an_unknown_mode_is_refused(twin: Twin) -> None:
    with pytest.raises(ValueError, match="unknown mode"):
        twin.fail_next("explode")
