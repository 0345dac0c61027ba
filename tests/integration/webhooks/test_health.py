"""If these fail, whoever is on call looks at the wrong part, or is not called at all."""

from datetime import timedelta
from pathlib import Path

from flask.testing import FlaskClient

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import MakeClient, an_event, signed
from tests.recording import RecordingJobQueue
from workers.kernel.ledger import Ledger, connect, schema
from workers.kernel.ledger.journal import EntryKind


def test_the_process_is_alive_whatever_else_is_down(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(ledger=connect(f"sqlite:///{tmp_path}"), jobs=RecordingJobQueue(away=True))
    assert client.get("/healthz").status_code == 200


def test_all_well_is_ready(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"ready": True, "failing": []})


def test_a_redis_that_is_down_is_named(make_client: MakeClient) -> None:
    answer = make_client(jobs=RecordingJobQueue(away=True)).get("/readyz")
    assert (answer.status_code, answer.json) == (503, {"ready": False, "failing": ["redis"]})


def test_a_ledger_that_is_down_is_named(make_client: MakeClient, tmp_path: Path) -> None:
    answer = make_client(ledger=connect(f"sqlite:///{tmp_path}")).get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"ready": False, "failing": ["ledger", "backlog"]}


def test_a_ledger_that_is_not_migrated_is_named(make_client: MakeClient, tmp_path: Path) -> None:
    unmigrated = connect(f"sqlite:///{tmp_path / 'new.db'}")
    client = make_client(ledger=unmigrated)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "ledger" in answer.json["failing"]
    schema.upgrade(unmigrated.database)
    assert client.get("/readyz").status_code == 200
    unmigrated.close()


def test_events_that_nobody_works_on_are_named(client: FlaskClient, clock: FrozenClock) -> None:
    body = an_event()
    client.post("/webhooks", data=body, headers=signed(body, clock))
    clock.turn(minutes=14)
    assert client.get("/readyz").status_code == 200
    clock.turn(minutes=2)
    assert client.get("/readyz").json == {"ready": False, "failing": ["backlog"]}


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
    assert "metermend_oldest_unprocessed_seconds 90.0" in shown
    assert any(line.startswith('metermend_webhooks_total{answer="received"}') for line in shown)


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
    assert (answer.json["ready"], list(answer.json["degraded"])) == (True, ["STRIPE_API_KEY"])
    assert "test events be told from live ones" in answer.json["degraded"]["STRIPE_API_KEY"]
    body = an_event(livemode=True)
    assert client.post("/webhooks", data=body, headers=signed(body, clock)).status_code == 200
