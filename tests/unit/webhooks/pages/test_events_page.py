"""Events in the browser. If these fail, usage behind an event that failed is forgotten by everybody."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from tests.books import a_context
from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue
from tests.unit.webhooks.pages.conftest import HOSTILE, LONG, As, Look, next_page, sound
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.tables import events
from workers.kernel.ledger.users import Role
from workers.pipeline.desk.desk import settle

TYPE = "v1.billing.meter.no_meter_found"


def arrives(ledger: Ledger, event_id: str, state: EventState = EventState.RECEIVED, **about: str) -> str:
    """An event that has come, and has ended in a state."""
    ledger.events.record(
        NewEvent(event_id, "thin", about.get("type", TYPE), livemode=False, raw=b'{"note": "raw"}')
    )
    if state is not EventState.RECEIVED:
        ledger.events.claim(event_id, "one", timedelta(minutes=5))
        ledger.events.finish(event_id, "one", state, about.get("reason"))
    return event_id


def retry(client: FlaskClient, event_id: str, why: str = "Stripe answers again") -> int:
    return client.post(f"/console/events/{event_id}/retry", data={"why": why}).status_code


def test_an_empty_ledger_says_what_brings_an_event(look: Look) -> None:
    assert "<code>metermend replay</code>" in look("/events")


def test_what_failed_comes_first_with_its_reason(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    arrives(sqlite_ledger, "evt_failed", EventState.FAILED, reason="the key may not read meters")
    clock.turn(seconds=1)
    arrives(sqlite_ledger, "evt_later")
    page = look("/events")
    assert page.index("evt_failed") < page.index("evt_later")
    assert "the key may not read meters" in page


def test_filters_stand_in_the_address(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    arrives(sqlite_ledger, "evt_old", EventState.DONE)
    clock.turn(days=2)
    arrives(sqlite_ledger, "evt_new", type="data_management.import_set.failed")
    assert "evt_old" not in look("/events", since="1_day")
    assert "evt_new" not in look("/events", state="done")
    assert "evt_new" not in look("/events", type=TYPE)
    assert "evt_new" in look("/events", state="no such state", since="nonsense", after="nonsense")


@pytest.mark.usefixtures("short_pages")
def test_many_events_go_on_over_pages(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    for each in range(5):
        clock.turn(seconds=1)
        arrives(sqlite_ledger, f"evt_{each:02}")
    first = look("/events", type=TYPE)
    address = next_page(first)
    second = look(address)
    assert f"type={TYPE}" in address
    assert all((f"evt_{each:02}<" in first) != (f"evt_{each:02}<" in second) for each in range(5))


def test_names_that_mean_no_good_are_only_shown(look: Look, sqlite_ledger: Ledger) -> None:
    arrives(sqlite_ledger, HOSTILE, EventState.FAILED, type=HOSTILE, reason=HOSTILE)
    arrives(sqlite_ledger, LONG, EventState.IGNORED, reason=LONG)
    assert "&lt;script&gt;" in look("/events")


def test_an_event_leads_to_its_cases_by_what_happened(look: Look, sqlite_ledger: Ledger) -> None:
    event_id = arrives(sqlite_ledger, "evt_1", EventState.DONE)
    sqlite_ledger.events.keep_fetched(event_id, b'{"note": "fetched"}')
    case_id = open_case(sqlite_ledger, a_failure()).id
    with sqlite_ledger.cases.hold(case_id, "one", timedelta(minutes=5)) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 12, event_id=event_id))
    page = look("/events/evt_1")
    assert f'href="/console/cases/{case_id}">12 rows of usage.csv were refused' in page
    assert "12 records by 1 entry" in page
    assert page.index("raw") < page.index("fetched")


def test_a_body_is_shown_as_it_is_and_its_absence_is_explained(look: Look, sqlite_ledger: Ledger) -> None:
    receipt = NewEvent("evt_1", "snapshot", TYPE, livemode=True, raw=b"\xff{", account="acct_1", object_id="obj_1")
    sqlite_ledger.events.record(receipt)
    assert "\ufffd{" in look("/events/evt_1")
    with sqlite_ledger.database.write() as connection:
        connection.execute(update(events).values(raw=None))
    assert "The body has passed its retention" in look("/events/evt_1")


def test_a_retry_is_booked_under_whoever_asked_and_waits_for_nobody(
    operator: FlaskClient, look: Look, sqlite_ledger: Ledger, queue: RecordingJobQueue
) -> None:
    event_id = arrives(sqlite_ledger, "evt_1", EventState.FAILED)
    assert retry(operator, event_id) == 302
    [act] = sqlite_ledger.acts.all()
    assert (act.state, act.actor, act.why) == (ActState.APPROVED, "operator", "Stripe answers again")
    assert act.arguments == {"cases": [], "events": ["evt_1"]}
    assert queue.acts == [(act.id, 1)]
    assert f"/console/acts/{act.id}" in look("/events/evt_1")
    sound(operator.get(f"/console/acts/{act.id}").text)


def test_a_worker_does_what_the_page_asked_for(
    operator: FlaskClient, look: Look, sqlite_ledger: Ledger, clock: FrozenClock, tmp_path: Path
) -> None:
    retry(operator, arrives(sqlite_ledger, "evt_1", EventState.FAILED))
    [act] = sqlite_ledger.acts.all()
    context = a_context(sqlite_ledger, tmp_path, clock)
    assert settle(context, act.id) is None
    event = sqlite_ledger.events.get("evt_1")
    assert event is not None
    assert (event.state, sqlite_ledger.acts.get(act.id).state) == (EventState.RECEIVED, ActState.DONE)
    assert "operator: Stripe answers again" in look("/events/evt_1")


def test_redis_away_loses_no_retry(operator: FlaskClient, sqlite_ledger: Ledger, queue: RecordingJobQueue) -> None:
    queue.away = True
    assert retry(operator, arrives(sqlite_ledger, "evt_1", EventState.FAILED)) == 302
    assert [act.state for act in sqlite_ledger.acts.all()] == [ActState.APPROVED]


def test_nothing_is_retried_without_a_reason(operator: FlaskClient, look: Look, sqlite_ledger: Ledger) -> None:
    retry(operator, arrives(sqlite_ledger, "evt_1", EventState.FAILED), why=" ")
    assert sqlite_ledger.acts.all() == []
    assert "Say why" in look("/events/evt_1", missing="why")


@pytest.mark.parametrize(
    ("state", "about"), [(EventState.RECEIVED, TYPE), (EventState.FAILED, "customer.subscription.updated")]
)
def test_what_a_worker_has_or_says_nothing_of_usage_cannot_be_retried(
    operator: FlaskClient, look: Look, sqlite_ledger: Ledger, state: EventState, about: str
) -> None:
    event_id = arrives(sqlite_ledger, "evt_1", state, type=about)
    assert "Take it up again" not in look("/events/evt_1")
    assert retry(operator, event_id) == 409
    assert sqlite_ledger.acts.all() == []


def test_a_viewer_retries_nothing(logged_in: As, sqlite_ledger: Ledger) -> None:
    viewer, event_id = logged_in(Role.VIEWER), arrives(sqlite_ledger, "evt_1", EventState.FAILED)
    assert retry(viewer, event_id) == 403
    assert "Take it up again" not in viewer.get(f"/console/events/{event_id}").text
