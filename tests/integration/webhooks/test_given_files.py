"""A failed-records file that somebody puts on a page. If these fail, a refused upload is known to him alone."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.builders import a_failure, a_movement
from tests.integration.webhooks.conftest import MakeClient
from tests.integration.webhooks.test_console import token_of
from tests.integration.webhooks.test_users import As, ledger
from workers.kernel.given_file import given_file
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState, StoredEvent
from workers.kernel.ledger.journal import EntryKind

__all__ = ["ledger"]
LEASE = timedelta(minutes=5)
LIST = b"identifier,error\r\nuse-1,=1+1\r\n"


@pytest.fixture
def as_(make_client: MakeClient, tmp_path: Path, ledger: Ledger) -> As:
    return As(lambda **settings: make_client(archive_url=str(tmp_path / "archive"), **settings))


def put(client: FlaskClient, data: bytes = LIST, name: str = "errors.csv", **fields: str) -> TestResponse:
    form = {"csrf_token": token_of(client.get("/console/").text), "file": (io.BytesIO(data), name), **fields}
    return client.post("/console/events/take-in", data=form, content_type="multipart/form-data")


def the_event(ledger: Ledger) -> StoredEvent:
    ((event_id, _),) = ledger.events.due(10)
    event = ledger.events.get(event_id)
    assert event is not None
    return event


def test_a_file_is_kept_and_its_page_waits_for_the_worker_who_reads_it(
    as_: As, ledger: Ledger, tmp_path: Path
) -> None:
    otto = as_("otto")
    answer = put(otto, import_set="impset_1", name="../errors.csv")
    event = the_event(ledger)
    assert answer.headers["Location"] == f"/console/events/{event.id}"
    given = given_file(event)
    assert (given.by, given.import_set, given.account) == ("otto", "impset_1", None)
    assert (tmp_path / "archive" / given.kept_as).read_bytes() == LIST
    assert "data-waits" in otto.get(f"/console/events/{event.id}").text


def test_who_puts_it_there_twice_sees_what_became_of_it(as_: As, ledger: Ledger) -> None:
    otto = as_("otto")
    put(otto)
    event = the_event(ledger)
    ledger.events.claim(event.id, "one", LEASE)
    ledger.events.finish(event.id, "one", EventState.FAILED, "errors.csv: it lists no record - give another")
    page = otto.get(f"/console/events/{event.id}").text
    assert "errors.csv: it lists no record - give another" in page
    assert "Take it up again" in page
    assert put(otto).headers["Location"] == f"/console/events/{event.id}"
    assert the_event(ledger).state is EventState.RECEIVED, "it is tried again"


def test_what_cannot_be_an_id_of_stripes_is_told_at_once(as_: As, ledger: Ledger) -> None:
    """Taken for the import set's, it keeps Stripe's own event from being known as the same refusal."""
    answer = put(as_("otto"), import_set="Import of Monday")
    assert answer.status_code == 400
    assert "Import of Monday: the id begins with impset_ - copy it from the Dashboard" in answer.text
    assert "choose the file" in as_("otto").get("/console/events?missing=file").text
    assert ledger.events.due(10) == []


def test_whoever_may_only_read_gives_nothing(as_: As, ledger: Ledger) -> None:
    vera = as_("vera")
    assert "Take in a failed-records file" not in vera.get("/console/events").text
    assert put(vera).status_code == 403
    assert ledger.events.due(10) == []


def test_a_case_whose_list_is_lacking_asks_for_it_and_says_of_which_import_set(as_: As, ledger: Ledger) -> None:
    with ledger.cases.hold(a_failure(), "one", LEASE) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 2, "0"))
        draft.move(a_movement(EntryKind.QUARANTINED, 2, "0", detail={"reasons": {"rows_not_listed": 2}}))
    page = as_("otto").get(f"/console/cases/{a_failure().case_id}").text
    assert 'name="import_set" value="impset_1"' in page
