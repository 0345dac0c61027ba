"""If these fail, usage of a sandbox is billed to real customers, or live refusals are looked for in a sandbox."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fixtures.twin import Twin
from tests.integration.pipeline.loop import KEY, Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from tests.recording import RecordingAlerts
from workers.kernel.errors import InputUnusable
from workers.kernel.event_envelope import LIVEMODE_MISMATCH, read_envelope
from workers.kernel.ledger.events import EventState
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.undo.cancel import submissions_of, undo
from workers.pipeline.upkeep.retry import retry_case, retry_event
from workers.stripe_api import LiveStripeApi
from workers.targets.files import FileTarget

LIVE_KEY = "sk_live_loop0001"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Twin]:
    """The company's account in live mode, with the same meter and customers as its sandbox."""
    (tmp_path / "live").mkdir()
    with Twin(bucket=f"file://{tmp_path / 'live'}", poll_seconds=1e9, livemode=True, seed=9) as twin:
        twin.add_meter("api_requests")
        twin.add_customers(["cus_1"])
        yield twin


def go_live(loop: Loop, live: Twin, key: str = LIVE_KEY) -> None:
    """Let the operator exchange the key over the same ledger."""
    bases = dict.fromkeys(("stripe_api_base", "stripe_files_base", "stripe_meter_events_base"), live.url)
    settings = loop.context.settings.model_copy(update={"stripe_api_key": SecretStr(key), **bases})
    bucket = loop.bucket.parent / "live"
    target = FileTarget(f"file://{bucket}", pace_seconds=0, clock=loop.clock)
    loop.context = replace(loop.context, settings=settings, stripe=LiveStripeApi(settings), target=target)


def a_refused_file(loop: Loop, event_id: str = "evt_1", **changes: Any) -> bytes:
    """Return the event of a file that was refused whole, and let the file lie where we find it."""
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "usage.csv").write_bytes(b"\xef\xbb\xbf" + usage("i1,{t},api_requests,cus_1,5").encode())
    subject = {"id": "impset_1", "object": "import_set", "status": "failed", "filename": "usage.csv"}
    event = {
        "id": event_id,
        "object": "event",
        "type": "data_management.import_set.failed",
        "livemode": False,
        "created": int(time.time()),
        "data": {"object": {**subject, "failed_reason": "byte order mark"}},
    }
    told = {**event, **changes}
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def sent(loop: Loop, live: Twin) -> int:
    return sum(len(submissions) for submissions in [live.poll(), loop.twin.poll()])


@pytest.mark.parametrize("stored_by", [None, False, True], ids=["web without key", "test web", "live web"])
@pytest.mark.parametrize("key", [LIVE_KEY, "rk_live_loop0001"])
def test_a_test_event_is_never_worked_on_with_a_live_key(
    loop: Loop, live: Twin, key: str, stored_by: bool | None
) -> None:
    """Without a key the web cannot tell, and whoever retried it by hand had test usage billed."""
    go_live(loop, live, key)
    loop.ledger.events.record(read_envelope(a_refused_file(loop), livemode=stored_by))
    loop.work()
    event = loop.ledger.events.get("evt_1")
    assert event is not None
    assert (event.state, event.reason) == (EventState.IGNORED, LIVEMODE_MISMATCH)
    with pytest.raises(
        InputUnusable, match="evt_1: it is of test mode and STRIPE_API_KEY is a live key - only a tes"
    ):
        retry_event(loop.context, "evt_1")
    assert (loop.cases(), sent(loop, live)) == ([], 0)


@pytest.mark.parametrize("key", [KEY, "rk_test_loop0001"])
def test_a_live_event_is_never_worked_on_with_a_test_key(loop: Loop, key: str) -> None:
    settings = loop.context.settings.model_copy(update={"stripe_api_key": SecretStr(key)})
    loop.context = replace(loop.context, settings=settings)
    loop.ledger.events.record(read_envelope(a_refused_file(loop, livemode=True), livemode=None))
    loop.work()
    with pytest.raises(InputUnusable, match="it is of live mode and STRIPE_API_KEY is a test key"):
        retry_event(loop.context, "evt_1")
    assert loop.cases() == []


@pytest.mark.parametrize("livemode", [True, None], ids=["says live", "says nothing"])
@pytest.mark.parametrize("stored_by", [None, True])
def test_an_event_of_the_keys_own_mode_is_worked_on_whoever_stored_it(
    loop: Loop, live: Twin, livemode: bool | None, stored_by: bool | None
) -> None:
    go_live(loop, live)
    loop.ledger.events.record(read_envelope(a_refused_file(loop, livemode=livemode), livemode=stored_by))
    loop.work()
    assert [case.failure.livemode for case in loop.cases()] == [True]
    assert loop.balance[Bucket.SUBMITTED].records == 1


def test_an_ignored_event_can_be_retried_once_the_right_key_is_there(loop: Loop, live: Twin) -> None:
    """The operator had set the wrong key for an hour: what came meanwhile must not be lost."""
    able = loop.context
    go_live(loop, live)
    loop.ledger.events.record(read_envelope(a_refused_file(loop), livemode=True))
    loop.context = able
    retry_event(loop.context, "evt_1")
    loop.work()
    assert loop.balance[Bucket.SUBMITTED].records == 1


def planned(loop: Loop) -> str:
    """A case of test usage that is planned, since no target is set."""
    able = loop.context
    loop.context = replace(able, target=None)
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5000"))
    loop.context = able
    return loop.cases()[0].id


def test_test_usage_that_was_planned_is_not_sent_with_a_live_key(loop: Loop, live: Twin) -> None:
    """5,000 were billed live for a trial in the sandbox."""
    case_id = planned(loop)
    go_live(loop, live)
    with pytest.raises(InputUnusable, match=f"{case_id}: it is of test mode"):
        retry_case(loop.context, case_id)
    with pytest.raises(InputUnusable, match="only a test key may work on it"):
        retry_case(loop.context, case_id, approved_by="ada")
    assert sent(loop, live) == 0
    assert loop.balance[Bucket.PLANNED].records == 1


def test_a_case_that_is_due_under_the_other_key_ends_in_trouble_and_goes_on_under_its_own(
    loop: Loop, live: Twin
) -> None:
    case_id = planned(loop)
    able, alerts = loop.context, loop.context.alerts
    assert isinstance(alerts, RecordingAlerts)
    retry_case(replace(able, owner="operator"), case_id)
    go_live(loop, live)
    loop.work()
    (case,) = loop.cases()
    assert case.trouble is not None
    assert case.trouble.startswith(f"{case_id}: it is of test mode and STRIPE_API_KEY is a live key")
    assert case.due_at is None
    assert sent(loop, live) == 0
    loop.context = able
    retry_case(replace(able, owner="operator"), case_id)
    loop.work()
    assert loop.balance[Bucket.SUBMITTED].records == 1
    assert_proved(loop)


def test_what_waits_for_its_window_is_not_confirmed_while_its_refusals_are_ignored(loop: Loop, live: Twin) -> None:
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5000"))
    assert loop.balance[Bucket.SUBMITTED].records == 1
    go_live(loop, live)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 0


def test_an_undo_does_not_ask_the_other_modes_stripe(loop: Loop, live: Twin) -> None:
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5000"))
    (submission,) = submissions_of(loop.context, loop.cases()[0].id)
    go_live(loop, live)
    with pytest.raises(InputUnusable, match="it is of test mode"):
        undo(loop.context, submission, approved_by="ada")
    assert loop.balance[Bucket.SUBMITTED].records == 1
