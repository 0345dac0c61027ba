"""If these fail, whoever is on call looks at the wrong part, or is not called at all."""

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import MakeClient, an_event, signed
from tests.recording import RecordingJobQueue
from webhooks import checks
from workers.kernel.ledger import Ledger, connect, schema
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.ledger.journal import EntryKind


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(checks, "WAIT_SECONDS", 20.0)


def told(client: FlaskClient) -> tuple[int, list[str]]:
    answer = client.get("/readyz")
    assert answer.json is not None
    assert answer.json["ready"] is (answer.status_code == 200)
    return answer.status_code, answer.json["failing"]


def test_the_process_is_alive_whatever_else_is_down(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(ledger=connect(f"sqlite:///{tmp_path}"), jobs=RecordingJobQueue(away=True))
    assert client.get("/healthz").status_code == 200


def test_all_well_is_ready(client: FlaskClient) -> None:
    assert told(client) == (200, [])


def test_a_redis_that_is_down_is_named(make_client: MakeClient) -> None:
    assert told(make_client(jobs=RecordingJobQueue(away=True))) == (503, ["redis"])


def test_a_ledger_that_is_down_is_named(make_client: MakeClient, tmp_path: Path) -> None:
    assert told(make_client(ledger=connect(f"sqlite:///{tmp_path}"))) == (503, ["ledger", "backlog"])


def test_a_ledger_that_is_not_migrated_is_named(make_client: MakeClient, tmp_path: Path) -> None:
    unmigrated = connect(f"sqlite:///{tmp_path / 'new.db'}")
    client = make_client(ledger=unmigrated)
    assert told(client) == (503, ["ledger", "backlog"])
    schema.upgrade(unmigrated.database)
    assert client.get("/readyz").status_code == 200
    unmigrated.close()


def test_a_dead_clock_shows_within_two_of_its_rounds_and_takes_no_web_out(
    make_client: MakeClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    client = make_client(sweep_interval=30)
    for sign in (Sign.WORKER, Sign.CLOCK, Sign.ARCHIVE):
        sqlite_ledger.heartbeats.beat(sign)
    clock.turn(seconds=40)
    sqlite_ledger.heartbeats.beat(Sign.WORKER)
    assert "degraded" not in (client.get("/readyz").json or {})
    clock.turn(seconds=20)
    sqlite_ledger.heartbeats.beat(Sign.WORKER)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json and answer.json["degraded"]) == (200, {"clock": "no clock runs"})
    shown = client.get("/metrics").text.splitlines()
    assert 'metermend_component_up{component="clock"} 0.0' in shown
    assert 'metermend_component_up{component="worker"} 1.0' in shown
    assert 'metermend_component_up{component="ledger"} 1.0' in shown


def test_every_part_is_named_with_a_word(client: FlaskClient) -> None:
    components = (client.get("/readyz").json or {})["components"]
    own = ("ledger", "redis", "backlog", "disk")
    degraded = {name for name, word in components.items() if word == "degraded"}
    assert {name: components[name] for name in own} == dict.fromkeys(own, "ok")
    assert degraded == {"worker", "clock"}, "on a new ledger nobody has lived"
    assert {"archive", "webhooks", "signatures", "queue", "slack"} <= components.keys()


def test_a_part_that_is_missing_is_told_without_a_ledger_too(make_client: MakeClient, tmp_path: Path) -> None:
    components = (make_client(ledger=connect(f"sqlite:///{tmp_path}")).get("/readyz").json or {})["components"]
    assert (components["ledger"], components["redis"]) == ("failing", "ok")
    assert "worker" not in components


def test_signatures_that_are_refused_again_and_again_are_told_and_a_single_one_is_not(
    client: FlaskClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    """A secret that was rolled in Stripe refuses every event of a destination, while the other one's come in."""
    body = an_event()
    for _ in range(4):
        client.post("/webhooks", data=body, headers=signed(body, clock, secret="whsec_rolled"))
        client.post("/webhooks", data=body, headers=signed(body, clock))
        clock.turn(minutes=10)
    seen = sqlite_ledger.heartbeats.last()
    assert (Sign.SIGNATURES_REFUSED in seen, seen[Sign.WEBHOOK]) == (False, clock.now - timedelta(minutes=10))
    client.post("/webhooks", data=body, headers=signed(body, clock, secret="whsec_rolled"))
    assert "signatures" in (client.get("/readyz").json or {})["degraded"]


def test_a_flood_of_posts_is_written_down_once_a_minute(
    client: FlaskClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    body, first = an_event(), clock.now
    for _ in range(5):
        client.post("/webhooks", data=body, headers=signed(body, clock))
        clock.turn(seconds=10)
    assert sqlite_ledger.heartbeats.last()[Sign.WEBHOOK] == first


def test_events_that_nobody_works_on_are_named(client: FlaskClient, clock: FrozenClock) -> None:
    body = an_event()
    client.post("/webhooks", data=body, headers=signed(body, clock))
    clock.turn(minutes=14)
    assert client.get("/readyz").status_code == 200
    clock.turn(minutes=2)
    assert told(client) == (503, ["backlog"])


class HangingJobQueue(RecordingJobQueue):
    """Takes the connection and says nothing until `answers` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.asked = 0

    def ping(self) -> None:
        self.asked += 1
        assert self.answers.wait(30)


def test_health_waits_once_and_briefly_for_what_hangs_and_says_how_old_its_word_is(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that waits for us takes us out of its rotation, and Stripe is refused for nothing."""
    monkeypatch.setattr(checks, "WAIT_SECONDS", 0.25)
    queue = HangingJobQueue()
    client = make_client(jobs=queue)
    started = time.monotonic()
    found: list[Any] = [client.get("/readyz").json for _ in range(50)]
    assert time.monotonic() - started < 5
    assert all(one["failing"] == ["redis"] and one["age_seconds"]["redis"] is None for one in found)
    assert found[-1]["age_seconds"]["ledger"] is not None
    assert queue.asked == 1
    assert client.get("/healthz").status_code == 200
    queue.answers.set()
    monkeypatch.setattr(checks, "WAIT_SECONDS", 20.0)
    while told(client) != (200, []):
        assert time.monotonic() - started < 30


def test_the_word_of_one_who_has_hung_for_long_is_worth_nothing(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = HangingJobQueue()
    queue.answers.set()
    client = make_client(jobs=queue)
    assert told(client) == (200, [])
    queue.answers.clear()
    monkeypatch.setattr(checks, "WAIT_SECONDS", 0.25)
    assert told(client) == (200, [])
    monkeypatch.setattr(checks, "LATE_SECONDS", 0.0)
    assert "redis" in told(client)[1]
    queue.answers.set()


def test_the_metrics_show_the_ledger_as_it_is_now(
    client: FlaskClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    body = an_event()
    client.post("/webhooks", data=body, headers=signed(body, clock))
    case = open_case(sqlite_ledger, a_failure())
    with sqlite_ledger.cases.hold(case.id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 12, "0.1"))
        draft.move(a_movement(EntryKind.QUARANTINED, 5, "0.1"))
    clock.turn(seconds=90)
    shown = client.get("/metrics").text.splitlines()
    assert 'metermend_events{state="received"} 1.0' in shown
    assert 'metermend_cases{state="open"} 1.0' in shown
    assert 'metermend_records{bucket="failed"} 12.0' in shown
    assert 'metermend_records{bucket="quarantined"} 5.0' in shown
    assert "metermend_unconfirmed_records 0.0" in shown
    assert "metermend_oldest_unprocessed_seconds 90.0" in shown
    assert any(line.startswith('metermend_webhooks_total{answer="received"}') for line in shown)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Basic scrape-me", 401),
        ("Bearer \u00fc", 401),
        ("bearer scrape-me", 200),
    ],
)
def test_metrics_are_shown_to_who_sends_the_token(make_client: MakeClient, sent: str | None, status: int) -> None:
    client = make_client(metrics_token="scrape-me")
    assert client.get("/metrics", headers={"Authorization": sent} if sent else {}).status_code == status
    assert client.get("/healthz").status_code == 200


def test_metrics_are_answered_while_the_ledger_is_down(make_client: MakeClient, tmp_path: Path) -> None:
    answer = make_client(ledger=connect(f"sqlite:///{tmp_path}")).get("/metrics")
    assert answer.status_code == 200
    assert "metermend_events{" not in answer.text


def test_a_web_without_a_key_takes_events_and_says_what_it_cannot_tell(
    make_client: MakeClient, clock: FrozenClock
) -> None:
    """Workers judge the mode of what it stores; whoever set it up must hear of it all the same."""
    client = make_client(stripe_api_key=None)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["ready"]
    assert "test events be told from live ones" in answer.json["degraded"]["STRIPE_API_KEY"]
    body = an_event(livemode=True)
    assert client.post("/webhooks", data=body, headers=signed(body, clock)).status_code == 200
