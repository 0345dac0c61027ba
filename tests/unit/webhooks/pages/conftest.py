"""The console on a real ledger, with somebody who is logged in, and what every page has to be."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient
from jinja2 import StrictUndefined

from tests.conftest import FrozenClock
from tests.integration.webhooks.conftest import PASSWORD, PASSWORD_HASH, some_settings
from tests.recording import RecordingJobQueue
from webhooks.app import create_app
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.users import Role

LONG = "customer_of_a_company_with_an_endless_name_" * 2
HOSTILE = "<script>alert(1)</script>\u202egnp.exe' onload=\"x"
VOID = {"meta", "link", "input", "br", "wbr", "img"}

Look = Callable[..., str]
As = Callable[[Role], FlaskClient]


class Balanced(HTMLParser):
    """Fails on a tag that is closed but was not opened, on a style of its own, and on two equal ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"style", "onload", "onclick"} & {name for name, _ in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def sound(page: str) -> str:
    """Return a page that no browser stumbles over, and that nobody else has written into."""
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert page.count("<script") == 1, "but for our own there is none"
    assert "\u202e" not in page
    assert not re.search(r">\s*None\s*<|=\"?None|\bUndefined\b|object at 0x", page)
    return page


def next_page(page: str) -> str:
    """Return where the next page of a list is."""
    link = re.search(r'<a href="/console([^"]+)" rel="next"', page)
    assert link
    return link[1].replace("&amp;", "&")


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists go on after three rows."""
    for name in ("audit", "cases", "events", "incidents", "quarantine"):
        monkeypatch.setattr(f"webhooks.console.{name}.PAGE_LENGTH", 3)


@pytest.fixture
def queue() -> RecordingJobQueue:
    return RecordingJobQueue()


@pytest.fixture
def logged_in(sqlite_ledger: Ledger, queue: RecordingJobQueue, clock: FrozenClock) -> As:
    """Return a browser of somebody with a role; a form needs no token here."""
    app = create_app(some_settings(), ledger=sqlite_ledger, queue=queue, clock=clock)
    app.config["WTF_CSRF_ENABLED"] = False
    app.jinja_env.undefined = StrictUndefined

    def enter(role: Role) -> FlaskClient:
        if sqlite_ledger.users.get(role) is None:
            sqlite_ledger.users.add(role, role, PASSWORD_HASH)
        client = app.test_client()
        assert client.post("/console/login", data={"name": role, "password": PASSWORD}).status_code == 302
        return client

    return enter


@pytest.fixture
def operator(logged_in: As) -> FlaskClient:
    return logged_in(Role.OPERATOR)


@pytest.fixture
def look(logged_in: As) -> Look:
    """Look at a page as an operator does, who has just logged in: a test may turn the clock by days."""

    def look(address: str, **asked: str) -> str:
        answer = logged_in(Role.OPERATOR).get(f"/console{address}", query_string=asked or None)
        assert answer.status_code == 200
        return sound(answer.text)

    return look
