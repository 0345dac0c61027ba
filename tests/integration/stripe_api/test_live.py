"""The real adapter when the network or Stripe misbehaves: nothing is lost, nothing is asked for ever."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

import pytest

from fixtures.twin import Twin
from fixtures.twin.files import add_file, finish_file
from workers.kernel.errors import Permanent, SettingsUnusable, Transient
from workers.kernel.settings import Settings, load
from workers.stripe_api import Limits, LiveStripeApi
from workers.stripe_api.call import ATTEMPTS, LONGEST_WAIT
from workers.stripe_api.customers import WORTH_LISTING
from workers.targets.meter_events import idempotency_key

CONTENTS = b"0123456789abcdef" * 65536
METER_EVENTS = "/v1/billing/meter_events"


@pytest.fixture
def meter(twin: Twin) -> dict[str, Any]:
    twin.add_customers(["cus_a"])
    return twin.add_meter("calls")


@pytest.fixture
def file_id(twin: Twin) -> str:
    file, path = add_file(twin.world, twin.account(), "failed.csv", "import_errors")
    path.write_bytes(CONTENTS)
    finish_file(twin.world, file)
    return str(file["id"])


def _event(identifier: str = "id-1") -> dict[str, Any]:
    payload = {"stripe_customer_id": "cus_a", "value": "0.1"}
    timestamp = int(datetime.now(UTC).timestamp()) - 120
    return {"event_name": "calls", "identifier": identifier, "timestamp": timestamp, "payload": payload}


def test_no_api_key_is_said_before_anything_is_asked() -> None:
    with pytest.raises(SettingsUnusable, match="STRIPE_API_KEY"):
        LiveStripeApi(load({"stripe_api_key": None}))


@pytest.mark.parametrize("mode", ["status", "cut_before", "cut_after", "truncate"])
def test_a_stumble_is_retried_and_not_noticed(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any], naps: list[float], mode: str
) -> None:
    twin.fail_next(mode, times=ATTEMPTS - 1)
    assert live.fetch_meter(meter["id"], None) is not None
    assert len(naps) == ATTEMPTS - 1


def test_a_far_side_that_stays_down_ends_as_transient(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any], naps: list[float]
) -> None:
    twin.fail_next("status", times=50)
    with pytest.raises(Transient, match="500"):
        live.fetch_meter(meter["id"], None)
    assert twin.faults.left() == 50 - ATTEMPTS
    assert naps == sorted(naps)


def test_a_far_side_that_hangs_is_left_after_the_timeout(twin: Twin, settings: Settings) -> None:
    api = LiveStripeApi(settings.model_copy(update={"stripe_timeout": 0.2}), sleep=lambda _: None)
    twin.fail_next("hang", times=ATTEMPTS, seconds=5)
    begun = datetime.now(UTC)
    with pytest.raises(Transient, match="could not be reached"):
        api.list_meters(None)
    assert datetime.now(UTC) - begun < timedelta(seconds=4)
    api.close()


def test_nobody_at_the_address_is_transient(settings: Settings) -> None:
    api = LiveStripeApi(settings.model_copy(update={"stripe_api_base": "http://127.0.0.1:1"}), sleep=lambda _: None)
    with pytest.raises(Transient, match="could not be reached"):
        api.list_meters(None)
    api.close()


def test_a_key_that_stripe_refuses_is_permanent_and_not_retried(twin: Twin, settings: Settings) -> None:
    naps: list[float] = []
    api = LiveStripeApi(load({**settings.model_dump(), "stripe_api_key": "sk_live_made_up"}), sleep=naps.append)
    with pytest.raises(Permanent, match="STRIPE_API_KEY"):
        api.list_meters(None)
    assert naps == []
    api.close()


def test_a_full_rate_limit_halves_the_pace_and_the_call_still_succeeds(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any]
) -> None:
    twin.fail_next("status", status=429, reason="global-rate")
    assert live.create_meter_event(_event(), "key", None).error is None
    assert live._calls.paces.meter_events.per_second < Limits().meter_events * 0.6


def test_a_busy_customer_does_not_slow_the_others(twin: Twin, live: LiveStripeApi, meter: dict[str, Any]) -> None:
    twin.fail_next("status", status=429, reason="resource-specific")
    assert live.create_meter_event(_event(), "key", None).error is None
    assert live._calls.paces.meter_events.per_second == Limits().meter_events


@pytest.mark.parametrize("mode", ["cut_after", "truncate"])
def test_usage_accepted_without_an_answer_is_recorded_once(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any], mode: str
) -> None:
    """The timeout after the acceptance: a second record here is a customer overcharged."""
    twin.fail_next(mode, path=METER_EVENTS)
    receipt = live.create_meter_event(_event(), "key", None)
    assert receipt.error is None
    assert receipt.asked_before
    assert [usage.identifier for usage in twin.accepted()] == ["id-1"]


def test_usage_accepted_and_its_key_forgotten_says_that_it_was_asked_before(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any]
) -> None:
    twin.fail_next("cut_after", path=METER_EVENTS)
    live._calls._sleep = lambda _: twin._idempotency.clear()
    receipt = live.create_meter_event(_event(), "key", None)
    assert receipt.error is not None
    assert "already exists" in receipt.error["message"]
    assert receipt.asked_before


def _streamed(identifier: str) -> dict[str, Any]:
    return {**_event(identifier), "timestamp": (datetime.now(UTC) - timedelta(minutes=2)).isoformat()}


def _sessions(twin: Twin) -> int:
    return len(twin.account().sessions)


def test_one_token_serves_many_calls_of_the_stream(twin: Twin, live: LiveStripeApi, meter: dict[str, Any]) -> None:
    """A session for each call would be as slow as a call for each record."""
    for number in range(3):
        live.stream_meter_events([_streamed(f"id-{number}")], None)
    assert len(list(twin.accepted())) == 3
    assert _sessions(twin) == 1


def test_a_token_that_stripe_calls_expired_is_renewed_and_nothing_is_lost(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any], naps: list[float]
) -> None:
    """Our clock may be behind, or the session ended by Stripe: the usage is neither refused nor late for that."""
    live.stream_meter_events([_streamed("id-1")], None)
    twin.clock.advance(15 * 60)
    receipt = live.stream_meter_events([_streamed("id-2")], None)
    assert (receipt.error, receipt.asked_before) == (None, False)
    assert [usage.identifier for usage in twin.accepted()] == ["id-1", "id-2"]
    assert (_sessions(twin), naps) == (2, [])


def test_a_token_is_renewed_before_it_ends(twin: Twin, settings: Settings, meter: dict[str, Any]) -> None:
    """A call that is read when its token has just ended waits in vain, each quarter of an hour."""
    now = datetime.now(UTC)
    api = LiveStripeApi(settings, clock=lambda: now)
    api.stream_meter_events([_streamed("id-1")], None)
    now += timedelta(minutes=14)
    twin.fail_next("status", path="/v2/billing/meter_event_stream", status=401)
    api.stream_meter_events([_streamed("id-2")], None)
    api.close()
    assert _sessions(twin) == 3


def test_a_token_that_is_refused_however_new_ends_in_an_error(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any]
) -> None:
    """Asking for tokens for ever would look like work."""
    twin.fail_next("status", path="/v2/billing/meter_event_stream", status=401, times=99)
    with pytest.raises(Permanent, match="401"):
        live.stream_meter_events([_streamed("id-1")], None)
    assert _sessions(twin) == 2


@pytest.mark.parametrize(
    ("status", "code"), [(429, "lock_timeout"), (429, None), (500, None), (503, None), (408, None), (409, None)]
)
def test_a_failure_that_stripe_keeps_for_a_key_does_not_block_the_record(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any], status: int, code: str | None
) -> None:
    """Stripe repeats it for a day: the record would wait that long, its chunk with it, and end in doubt."""
    twin.fail_next("stored", path=METER_EVENTS, status=status, code=code)
    receipt = live.create_meter_event(_event(), "key", None)
    assert (receipt.error, receipt.asked_before) == (None, True)
    assert [usage.identifier for usage in twin.accepted()] == ["id-1"]


def test_failures_that_stripe_keeps_for_every_key_of_a_job_do_not_block_the_next_one(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any]
) -> None:
    """Keys that follow from each other are all used up after some jobs, and the record waits for a day again."""
    event = _event()
    for job in range(5):
        twin.fail_next("stored", path=METER_EVENTS, status=429, code="lock_timeout", times=9)
        with pytest.raises(Transient):
            live.create_meter_event(event, "key", None)
        assert twin.faults.left() > 0, job
        twin.faults.clear()
    assert live.create_meter_event(event, "key", None).error is None
    assert [usage.identifier for usage in twin.accepted()] == ["id-1"]


def test_a_changed_key_is_never_longer_than_stripe_takes(settings: Settings) -> None:
    """A longer one is refused as such, whatever the record (Stripe docs, "Idempotent requests": 255 characters)."""
    keys: list[str] = []

    class Repeating(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            keys.append(self.headers["Idempotency-Key"])
            self.send_response(429)
            self.send_header("idempotent-replayed", "True")
            self.end_headers()
            self.wfile.write(b'{"error": {"type": "invalid_request_error", "code": "lock_timeout"}}')

        def log_message(self, *_: Any) -> None: ...

    first = idempotency_key("case_0123456789abcdef-12", "i" * 100)
    with serving(Repeating) as base:
        api = LiveStripeApi(settings.model_copy(update={"stripe_api_base": base}), sleep=lambda _: None)
        for _ in range(3):
            with pytest.raises(Transient):
                api.create_meter_event(_event(), first, None)
        api.close()
    assert max(map(len, keys)) <= 255
    assert len(set(keys)) == 1 + 3 * (ATTEMPTS - 1)


def test_a_cancellation_that_lost_its_answer_is_repeated_without_harm(
    twin: Twin, live: LiveStripeApi, meter: dict[str, Any]
) -> None:
    live.create_meter_event(_event("ü-1"), "key", None)
    twin.fail_next("cut_after", path="*adjustments")
    assert live.cancel_meter_event("calls", "ü-1", None)["status"] == "pending"
    assert live.cancel_meter_event("calls", "ü-1", None)["status"] == "pending"


def test_an_account_travels_in_the_header_of_each_api(twin: Twin, live: LiveStripeApi) -> None:
    there = twin.add_meter("calls", account="acct_1")
    assert live.fetch_meter(there["id"], None) is None
    assert live.fetch_meter(there["id"], "acct_1") is not None
    event = {
        "id": "evt_1", "object": "v2.core.event", "type": "t", "created": "2026-11-01T00:00:00Z",
        "context": "acct_1", "livemode": False, "related_object": None,
    }  # fmt: skip
    twin.deliver([event])
    assert live.fetch_event("evt_1", "acct_1")["id"] == "evt_1"
    with pytest.raises(Permanent):
        live.fetch_event("evt_1", None)


def test_every_page_is_read(twin: Twin, live: LiveStripeApi) -> None:
    """A meter on the second page would make its usage "no meter"."""
    for number in range(230):
        twin.add_meter(f"meter_{number}")
    assert len({meter["id"] for meter in live.list_meters(None)}) == 230


def test_every_event_of_every_day_is_read_once_and_in_order(twin: Twin, live: LiveStripeApi) -> None:
    now, account = datetime.now(UTC), twin.account()
    for minutes in range(6000, 0, -20):
        created = now - timedelta(minutes=minutes)
        for kind, text in (("event", int(created.timestamp())), ("v2.core.event", created.isoformat())):
            name = f"evt_{kind[:2]}{minutes}"
            twin.deliver([{"id": name, "object": kind, "type": "t", "created": text, "related_object": None}])
            account.events[name].created = created.timestamp()
    since = now - timedelta(minutes=5999)
    expected = [str(minutes) for minutes in range(5980, 0, -20)]
    assert [e["id"][6:] for e in live.snapshot_events(["t"], since, None)] == expected
    assert [e["id"][6:] for e in live.thin_events(["t"], since, None)] == expected


@pytest.mark.parametrize(("others", "most_calls"), [(0, 16), (9000, 600)])
def test_many_customers_are_found_whether_the_list_shows_them_or_not(
    twin: Twin, settings: Settings, others: int, most_calls: int
) -> None:
    """Asking for each alone takes a second per hundred: a large file's lookups would outlast the job."""
    asked = [f"cus_{number}" for number in range(WORTH_LISTING)]
    twin.add_customers([*asked[10:], *(f"cus_other_{number}" for number in range(others))])
    twin.account().customers.pop("cus_10")
    twin.account().deleted_customers.add("cus_10")
    api = LiveStripeApi(settings, limits=Limits(basic=10_000))
    with patch.object(api._calls, "once", wraps=api._calls.once) as once:
        found = api.find_customers(asked, None)
    assert {name for name, one in found.items() if not one.deleted} == set(asked[11:])
    assert once.call_count <= most_calls
    api.close()


def test_a_summary_with_a_fraction_stays_exact(twin: Twin, live: LiveStripeApi, meter: dict[str, Any]) -> None:
    for number in range(3):
        live.create_meter_event(_event(f"id-{number}"), f"key-{number}", None)
    now = datetime.now(UTC)
    found = live.event_summaries(meter["id"], "cus_a", now - timedelta(hours=1), now, None)
    assert [summary.value for summary in found] == [Decimal("0.3")]


@pytest.mark.parametrize("grouping", [None, "hour", "day"])
def test_any_window_is_widened_to_what_stripe_takes(
    live: LiveStripeApi, meter: dict[str, Any], grouping: Any
) -> None:
    moment = datetime(2026, 11, 20, 23, 59, 59, 999_999, UTC)
    live.event_summaries(meter["id"], "cus_a", moment, moment, None, grouping)


@pytest.mark.parametrize("mode", ["truncate", "cut_before", "status"])
def test_a_broken_download_is_begun_anew(
    twin: Twin, live: LiveStripeApi, file_id: str, tmp_path: Path, mode: str
) -> None:
    twin.fail_next(mode, path="*/contents", times=2)
    live.download_file(file_id, None, tmp_path / "f", 2**21)
    assert (tmp_path / "f").stat().st_size == len(CONTENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_download_that_never_completes_leaves_nothing(
    twin: Twin, live: LiveStripeApi, file_id: str, tmp_path: Path
) -> None:
    """Half a failed-records file would hide the other half's revenue."""
    twin.fail_next("truncate", path="*/contents", times=ATTEMPTS)
    with pytest.raises(Transient, match="broke off"):
        live.download_file(file_id, None, tmp_path / "f", 2**21)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of its own kind; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def host(status: int, headers: dict[str, str], body: bytes) -> Iterator[tuple[str, list[str]]]:
    """A host that answers every GET alike, without a length; its address and the paths that it was asked for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with serving(Handler) as base:
        yield base, seen


def test_the_key_is_not_carried_along_a_redirect(
    twin: Twin, settings: Settings, file_id: str, tmp_path: Path
) -> None:
    """A file's url may say anything, and a host may redirect: the key goes to the setting's host only."""
    contents = f"/v1/files/{file_id}/contents"
    with host(302, {"Location": twin.url + contents}, b"") as (base, seen):
        api = LiveStripeApi(settings.model_copy(update={"stripe_files_base": base, "stripe_api_base": base}))
        with pytest.raises(Permanent, match="302"):
            api.download_file(file_id, None, tmp_path / "f", 2**21)
        with pytest.raises(Permanent, match="302"):
            api.list_meters(None)
        api.close()
    assert [path.split("?")[0] for path in seen] == [contents, "/v1/billing/meters"]


def test_a_file_of_untold_length_is_cut_off_at_the_cap(settings: Settings, tmp_path: Path) -> None:
    """A far side that never ends would fill the disk."""
    with host(200, {}, b"x" * 5_000_000) as (base, _):
        api = LiveStripeApi(settings.model_copy(update={"stripe_files_base": base}))
        with pytest.raises(Permanent, match="larger than 1000000 bytes"):
            api.download_file("file_1", None, tmp_path / "f", 1_000_000)
        api.close()
    assert list(tmp_path.iterdir()) == []


def test_a_wait_that_is_too_long_for_a_worker_is_handed_back(live: LiveStripeApi, naps: list[float]) -> None:
    def ask() -> None:
        raise Transient("busy", retry_after=LONGEST_WAIT + 1)

    with pytest.raises(Transient) as raised:
        live._calls.persist(ask, live._calls.paces.basic)
    assert raised.value.retry_after == LONGEST_WAIT + 1
    assert naps == []


def test_the_wait_that_stripe_asks_for_is_kept(live: LiveStripeApi, naps: list[float]) -> None:
    answers = iter([Transient("busy", retry_after=7), None])

    def ask() -> str:
        trouble = next(answers)
        if trouble:
            raise trouble
        return "done"

    assert live._calls.persist(ask, live._calls.paces.basic) == "done"
    assert naps == [7]


@pytest.mark.parametrize("body", [b"[]", b'"hi"', b"{}", b'{"data": 1}'])
def test_a_host_that_is_not_stripe_is_named_as_a_wrong_setting(settings: Settings, body: bytes) -> None:
    """A health page behind a wrong base address answers 200, too."""
    with host(200, {}, body) as (base, _):
        api = LiveStripeApi(settings.model_copy(update={"stripe_api_base": base}))
        with pytest.raises(Permanent, match="STRIPE_API_BASE"):
            api.list_meters(None)
        api.close()
