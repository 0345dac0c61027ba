"""A day at the console, with a worker after each click. If these fail, another thing is billed than was clicked."""

import csv
import io
import re

import pytest
from flask.testing import FlaskClient

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from tests.integration.webhooks.conftest import some_settings
from tests.integration.webhooks.test_console import token_of
from tests.integration.webhooks.test_users import come, hashed
from webhooks.app import create_app
from workers.kernel.ledger.acts import ActState
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.users import Role
from workers.pipeline.desk.desk import settle


class Console:
    """Browsers of people who are logged in, and a worker that does what their clicks wait for."""

    def __init__(self, loop: Loop, approvals: int) -> None:
        settings = some_settings(approvals=approvals, archive_url=loop.archive_url)
        self.loop, self.app = loop, create_app(settings, ledger=loop.ledger, queue=loop.queue, clock=loop.clock)
        for name in ("ada", "grace"):
            loop.ledger.users.add(name, Role.APPROVER, hashed(name))

    def __call__(self, name: str) -> "Browser":
        client = self.app.test_client()
        assert come(client, name, address="127.0.0.1") == 302
        return Browser(client, self.loop)


class Browser:
    """What one person sees and presses."""

    def __init__(self, client: FlaskClient, loop: Loop) -> None:
        self.client, self.loop, self.page = client, loop, ""

    def see(self, path: str) -> str:
        self.page = self.client.get(path).text
        return self.page

    def press(self, path: str, **form: object) -> str:
        """Send a form, let a worker do what that waits for, and return the page that it leads to."""
        token = token_of(self.client.get("/console/").text)
        print_ = re.search(r'name="fingerprint" value="(\w+)"', self.page)
        seen = {"fingerprint": print_[1]} if print_ else {}
        answer = self.client.post(path, data={"csrf_token": token, **seen, **form})
        assert answer.status_code == 302, answer.text
        for act_id, _ in self.loop.queue.acts:
            settle(self.loop.context, act_id)
        self.loop.queue.acts.clear()
        return self.see(answer.headers["Location"])


@pytest.fixture
def case_id(loop: Loop) -> str:
    """A case of which two records wait for a person."""
    loop.upload("day.csv", usage(*(f"use-{n},{{t}},api_requests,cus_gone,{n}" for n in (1, 2))))
    [case] = loop.cases()
    return case.id


def act_of(page: str) -> str:
    found = re.search(r"<code>(act_\w+)</code>", page)
    assert found
    return found[1]


def test_a_value_is_mended_in_a_spreadsheet_and_billed_as_it_was_written(loop: Loop, case_id: str) -> None:
    browser = Console(loop, approvals=1)("ada")
    written = browser.press(f"/console/acts/csv/{case_id}")
    there = browser.see(f"/console/files/acts/{act_of(written)}")
    untouched = browser.press(f"/console/acts/file/{case_id}", why="x", file=(io.BytesIO(there.encode()), "in.csv"))
    assert "Nothing was done" in untouched
    assert "no cell was edited" in untouched
    [row, other] = csv.DictReader(io.StringIO(there))
    assert {row["identifier"], other["identifier"]} == {"use-1", "use-2"}
    text = io.StringIO()
    sheet = csv.DictWriter(text, list(row), delimiter=";")
    sheet.writeheader()
    sheet.writerow({**row, "payload_stripe_customer_id": "cus_2", "payload_value": "12"})
    shown = browser.press(
        f"/console/acts/file/{case_id}",
        why="as the invoice says",
        file=(io.BytesIO(text.getvalue().encode()), "in.csv"),
    )
    assert "1 record of" in shown
    assert re.search(
        r"payload_stripe_customer_id</small> <code>cus_gone</code>.*<code>cus_2</code>", shown, re.DOTALL
    )
    act_id = act_of(shown)
    done = browser.press(f"/console/acts/{act_id}/approve")
    assert "Take it back" in done
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_2"): "12"}
    too_late = browser.press(f"/console/acts/{act_id}/take-back", why="a slip")
    assert "Nothing was done" in too_late
    assert "sent or settled since" in too_late
    page = browser.see(f"/console/cases/{case_id}")
    assert "1 record is planned anew, by ada: as the invoice says" in page
    assert_proved(loop)


def test_a_write_off_takes_two_and_is_undone_from_its_page(loop: Loop, case_id: str) -> None:
    console = Console(loop, approvals=2)
    ada, grace = console("ada"), console("grace")
    act_id = act_of(ada.press(f"/console/acts/case/{case_id}", kind="write_off", why="goodwill"))
    waits = ada.press(f"/console/acts/{act_id}/approve")
    assert "it waits for another" in waits
    assert "<button>Approve</button>" not in waits
    assert loop.balance[Bucket.WRITTEN_OFF].records == 0
    grace.see(f"/console/acts/{act_id}")
    assert "2 records." in grace.press(f"/console/acts/{act_id}/approve")
    assert loop.balance[Bucket.WRITTEN_OFF].records == 2
    undo = act_of(grace.press(f"/console/acts/{act_id}/take-back", why="a slip"))
    assert loop.ledger.acts.get(undo).state is ActState.SHOWN
    grace.press(f"/console/acts/{undo}/approve")
    ada.see(f"/console/acts/{undo}")
    ada.press(f"/console/acts/{undo}/approve")
    assert (loop.balance[Bucket.WRITTEN_OFF].records, loop.balance[Bucket.QUARANTINED].records) == (0, 2)
    assert "records wait again, by grace" in ada.see(f"/console/acts/{act_id}")
    assert_proved(loop)
