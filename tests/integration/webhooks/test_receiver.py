"""If these fail, Stripe is told that an event is safe when it is not, or is made to resend what is."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from tests.builders import a_failure
from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import SECRETS, MakeClient, an_event, signed
from tests.recording import RecordingJobQueue
from webhooks import group_commit
from workers.kernel import metrics
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.awaited import Awaited
from workers.kernel.ledger.events import EventState
from workers.kernel.metrics import REGISTRY


def answers(answer: str, registry: CollectorRegistry = REGISTRY) -> float:
    return registry.get_sample_value("metermend_webhooks_total", {"answer": answer}) or 0.0


PATHS = [
    "/webhooks",
    "/webhooks/thin",
    "/webhooks/snapshot",
    "/webhooks/",
    "/webhooks/thin/",
    "/webhooks/snapshot/",
    "//webhooks",
    "/webhooks//",
    "//webhooks//thin//",
    "///webhooks/snapshot",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_signed_event_is_stored_hinted_and_acknowledged(
    client: FlaskClient,
    sqlite_ledger: Ledger,
    queue: RecordingJobQueue,
    clock: FrozenClock,
    path: str,
    secret: str,
) -> None:
    before = answers("received")
    body = an_event()
    as_it_comes = {"PATH_INFO": path}  # werkzeug's client would take `//webhooks` for a host
    answer = client.post(data=body, headers=signed(body, clock, secret), environ_overrides=as_it_comes)
    assert (answer.status_code, answer.json) == (200, {"received": True})
    stored = sqlite_ledger.events.get("evt_1")
    assert stored is not None
    assert (stored.raw, stored.state) == (body, EventState.RECEIVED)
    assert queue.events == [("evt_1", 0)]
    assert answers("received") == before + 1


def test_the_event_is_committed_before_its_hint_is_given(
    make_client: MakeClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    seen = []

    class Watching(RecordingJobQueue):
        def enqueue_event(self, event_id: str, attempt: int, *, large: bool = False) -> None:
            seen.append(sqlite_ledger.events.get(event_id) is not None)

    body = an_event()
    make_client(jobs=Watching()).post("/webhooks", data=body, headers=signed(body, clock))
    assert seen == [True]


def test_a_known_id_is_acknowledged_and_hinted_no_more(
    client: FlaskClient, queue: RecordingJobQueue, clock: FrozenClock
) -> None:
    for _ in range(3):
        body = an_event()
        answer = client.post("/webhooks", data=body, headers=signed(body, clock))
        assert (answer.status_code, answer.json) == (200, {"received": True})
        clock.turn(minutes=10)
    assert queue.events == [("evt_1", 0)]


def test_a_redis_that_is_down_does_not_keep_stripe_waiting_for_its_200(
    make_client: MakeClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    before = metrics.REGISTRY.get_sample_value("metermend_enqueue_failures_total") or 0.0
    body = an_event()
    answer = make_client(jobs=RecordingJobQueue(away=True)).post(
        "/webhooks", data=body, headers=signed(body, clock)
    )
    assert answer.status_code == 200
    assert sqlite_ledger.events.due(10) == [("evt_1", 0)]
    assert metrics.REGISTRY.get_sample_value("metermend_enqueue_failures_total") == before + 1


def test_a_post_that_finds_too_many_waiting_is_told_at_once_when_to_come_again(
    client: FlaskClient, queue: RecordingJobQueue, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, body = answers("overloaded"), an_event()
    monkeypatch.setattr(group_commit, "MOST_WAITING", 0)
    answer = client.post("/webhooks", data=body, headers=signed(body, clock))
    assert (answer.status_code, answer.json) == (503, {"error": "overloaded"})
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answers("overloaded") == before + 1
    monkeypatch.undo()
    assert client.post("/webhooks", data=body, headers=signed(body, clock)).status_code == 200
    assert queue.events == [("evt_1", 0)]


def test_stripes_posts_get_no_cookie(client: FlaskClient, clock: FrozenClock) -> None:
    """The pages' sessions took each post as long as its commit."""
    body = an_event()
    answer = client.post("/webhooks", data=body, headers=signed(body, clock))
    assert "Cookie" not in answer.headers.get("Vary", "")
    assert "Set-Cookie" not in answer.headers


def test_a_ledger_that_cannot_commit_makes_stripe_deliver_again(
    make_client: MakeClient, queue: RecordingJobQueue, clock: FrozenClock, tmp_path: Path
) -> None:
    body = an_event()
    unmigrated = connect(f"sqlite:///{tmp_path / 'unmigrated.db'}")
    answer = make_client(ledger=unmigrated).post("/webhooks", data=body, headers=signed(body, clock))
    assert (answer.status_code, answer.json) == (503, {"error": "unavailable"})
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert queue.events == []
    unmigrated.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "v2.core.event_destination.ping"}, "irrelevant_type"),
        ({"type": "something.brand_new"}, "irrelevant_type"),
        ({"object": "v3.core.event"}, "unknown_kind"),
        ({"livemode": True}, "livemode_mismatch"),
    ],
)
def test_a_signed_event_without_work_is_kept_with_its_reason_and_acknowledged(
    client: FlaskClient,
    sqlite_ledger: Ledger,
    queue: RecordingJobQueue,
    clock: FrozenClock,
    changes: dict[str, object],
    reason: str,
) -> None:
    body = an_event(**changes)
    assert client.post("/webhooks", data=body, headers=signed(body, clock)).status_code == 200
    stored = sqlite_ledger.events.get("evt_1")
    assert stored is not None
    assert (stored.state, stored.reason) == (EventState.IGNORED, reason)
    assert queue.events == []


@pytest.mark.parametrize(
    ("headers", "slug"),
    [
        ({}, "missing_signature"),
        ({"Stripe-Signature": "v1=0"}, "malformed_signature"),
        ({"Stripe-Signature": "t=1795253400,v1=0"}, "bad_signature"),
    ],
)
def test_a_forged_post_is_refused_in_one_word_and_leaves_nothing(
    client: FlaskClient, sqlite_ledger: Ledger, headers: dict[str, str], slug: str
) -> None:
    before = answers(slug)
    answer = client.post("/webhooks", data=an_event(), headers=headers)
    assert (answer.status_code, answer.json) == (400, {"error": slug})
    assert sqlite_ledger.events.get("evt_1") is None
    assert answers(slug) == before + 1


@pytest.mark.parametrize("path", PATHS)
def test_a_forged_post_is_refused_wherever_it_goes_and_never_redirected(client: FlaskClient, path: str) -> None:
    """Stripe takes a redirect for a failed delivery, and disables an endpoint that fails for days."""
    answer = client.post(data=an_event(), environ_overrides={"PATH_INFO": path})
    assert (answer.status_code, answer.json) == (400, {"error": "missing_signature"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": ""},
        {"Content-Type": "text/plain; charset=utf-16"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
        {"Accept": "text/html"},
        {"X-HTTP-Method-Override": "GET"},
        {"X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/stripe"},
        {"Host": "a_b.example:4242"},
        {"Cookie": "metermend=forged"},
        {"Stripe-Version": "2020-01-01", "User-Agent": ""},
    ],
)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n \t"])
def test_what_a_proxy_says_of_the_body_does_not_matter_but_its_bytes_do(
    client: FlaskClient, sqlite_ledger: Ledger, clock: FrozenClock, headers: dict[str, str], before: bytes
) -> None:
    body = before + an_event()
    assert client.post("/webhooks", data=body, headers=signed(body, clock) | headers).status_code == 200
    stored = sqlite_ledger.events.get("evt_1")
    assert stored is not None
    assert stored.raw == body
    assert client.post("/webhooks", data=body + b" ", headers=signed(body, clock) | headers).status_code == 400


def test_secrets_that_were_copied_with_their_blanks_are_good(make_client: MakeClient, clock: FrozenClock) -> None:
    client = make_client(stripe_webhook_secrets=f"  {SECRETS[0]}\n,\n'{SECRETS[1]}'\r\n")
    for number, secret in enumerate(SECRETS):
        body = an_event(id=f"evt_{number}")
        assert client.post("/webhooks", data=body, headers=signed(body, clock, secret)).status_code == 200


@pytest.mark.parametrize("age", [301, -301])
def test_a_replayed_or_postdated_post_is_refused(client: FlaskClient, clock: FrozenClock, age: int) -> None:
    body = an_event()
    answer = client.post("/webhooks", data=body, headers=signed(body, clock, age=age))
    assert (answer.status_code, answer.json) == (400, {"error": "too_old"})


def test_the_tolerance_is_a_setting(make_client: MakeClient, clock: FrozenClock) -> None:
    body = an_event()
    answer = make_client(webhook_tolerance=600).post("/webhooks", data=body, headers=signed(body, clock, age=599))
    assert answer.status_code == 200


def test_a_signed_body_that_is_no_event_is_refused(client: FlaskClient, clock: FrozenClock) -> None:
    answer = client.post("/webhooks", data=b"[]", headers=signed(b"[]", clock))
    assert (answer.status_code, answer.json) == (400, {"error": "malformed_body"})


def test_the_type_of_the_content_does_not_matter_but_its_bytes_do(
    client: FlaskClient, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    body = b"  " + an_event() + b"\r\n"
    headers = signed(body, clock) | {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/webhooks", data=body, headers=headers).status_code == 200
    stored = sqlite_ledger.events.get("evt_1")
    assert stored is not None
    assert stored.raw == body


def test_a_body_may_be_as_long_as_the_cap_and_no_longer(make_client: MakeClient, clock: FrozenClock) -> None:
    client = make_client(webhook_max_body=2048)
    fits = an_event(note="x" * 100).ljust(2048)
    assert client.post("/webhooks", data=fits, headers=signed(fits, clock)).status_code == 200
    answer = client.post("/webhooks", data=fits + b" ", headers=signed(fits + b" ", clock))
    assert (answer.status_code, answer.json) == (413, {"error": "body_too_large"})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_posts_are_taken(client: FlaskClient, method: str) -> None:
    answer = client.open("/webhooks", method=method)
    assert (answer.status_code, answer.json) == (405, {"error": "method_not_allowed"})
    assert answer.headers["Allow"] == "POST"


def test_a_new_customer_is_stored_and_worked_on_only_if_usage_waits_for_it(
    client: FlaskClient, sqlite_ledger: Ledger, queue: RecordingJobQueue, clock: FrozenClock
) -> None:
    """Thousands a day would fill the ledger, and the one that matters would be lost among them."""
    with (
        sqlite_ledger.cases.hold(a_failure(), "plan", timedelta(minutes=1)) as held,
        held.transaction(last=True) as transaction,
    ):
        transaction.awaited.add([Awaited("customer:cus_late", "", clock(), clock())])
    for event_id, customer in (("evt_other", "cus_other"), ("evt_late", "cus_late")):
        told = {"type": "customer.created", "data": {"object": {"id": customer, "object": "customer"}}}
        body = an_event(id=event_id, **told)
        assert client.post("/webhooks", data=body, headers=signed(body, clock)).status_code == 200
    assert sqlite_ledger.events.get("evt_other") is None
    assert queue.events == [("evt_late", 0)]


def test_a_new_customer_is_asked_for_again_while_the_ledger_cannot_tell_whether_usage_waits(
    make_client: MakeClient, clock: FrozenClock, tmp_path: Path
) -> None:
    unmigrated = connect(f"sqlite:///{tmp_path / 'unmigrated.db'}")
    body = an_event(type="customer.created")
    assert (
        make_client(ledger=unmigrated).post("/webhooks", data=body, headers=signed(body, clock)).status_code == 503
    )
    unmigrated.close()
