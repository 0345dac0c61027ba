"""Who has decided what. If these fail, an auditor who asks who wrote usage off gets no answer, or not all of it."""

import pytest
from flask.testing import FlaskClient

from tests.conftest import FrozenClock
from tests.unit.webhooks.pages.conftest import HOSTILE, LONG, Look, next_page
from webhooks.console.audit import KINDS
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.acts import ActState
from workers.pipeline.desk.desk import ORDERS
from workers.pipeline.desk.readings import READINGS


def test_no_act_is_said_in_so_many_words(look: Look) -> None:
    assert "No act is like that." in look("/audit")


def test_every_kind_of_act_can_be_asked_for() -> None:
    assert set(KINDS) == {*ORDERS, *READINGS}


def test_an_act_says_who_has_asked_approved_and_ended_it(look: Look, sqlite_ledger: Ledger) -> None:
    acts = sqlite_ledger.acts
    shown = acts.show(
        acts.ask("write_off", "case_1", {}, "ada", "too small"), {"summary": "12 are written off"}, "f"
    )
    acts.end(acts.approve(shown, "bob", 1), ActState.DONE, {"records": 12})
    acts.end(acts.ask("retry", None, {}, "eve", "a mistake"), ActState.WITHDRAWN, {"by": "dan"})
    page = look("/audit")
    assert "12 are written off" in page
    assert "approved by bob" in page
    assert "withdrawn by dan" in page


def test_filters_stand_in_the_address(look: Look, sqlite_ledger: Ledger) -> None:
    sqlite_ledger.acts.ask("write_off", None, {}, "ada", "first reason")
    sqlite_ledger.acts.ask("retry", None, {}, "bob", "second reason")
    for asked in ({"actor": "ada"}, {"kind": "write_off"}):
        page = look("/audit", **asked)
        assert "first reason" in page
        assert "second reason" not in page
    assert "first reason" not in look("/audit", state="done")
    assert "first reason" in look("/audit", state="nonsense")


@pytest.mark.usefixtures("short_pages")
def test_many_acts_go_on_over_pages(look: Look, sqlite_ledger: Ledger, clock: FrozenClock) -> None:
    for each in range(5):
        clock.turn(seconds=1)
        sqlite_ledger.acts.ask("retry", None, {}, "ada", f"reason {each:02}.")
    first = look("/audit", actor="ada")
    address = next_page(first)
    assert "reason 00." not in first
    assert "reason 00." in look(address)
    assert "actor=ada" in address


@pytest.mark.usefixtures("short_pages")
def test_an_address_that_was_tampered_with_leads_nowhere_else(
    look: Look, sqlite_ledger: Ledger, clock: FrozenClock
) -> None:
    """A link that somebody is lured to must not make the page's own links lead out of the console, nor break it."""
    for each in range(4):
        clock.turn(seconds=1)
        sqlite_ledger.acts.ask("retry", None, {}, "ada", f"reason {each}")
    orders = {
        "_external": "1",
        "_scheme": "javascript",
        "_method": "x",
        "_anchor": "x",
        "endpoint": "x",
        "self": "x",
    }
    page = look("/audit", **orders, after="0~9999-12-31T23:59:59-23:59~x")
    assert next_page(page).startswith("/audit?")
    assert "reason 3" in look("/audit", after="0~0001-01-01T00:00:00+23:59~x")


def test_names_that_mean_no_good_are_only_shown(operator: FlaskClient, look: Look, sqlite_ledger: Ledger) -> None:
    act = sqlite_ledger.acts.ask(HOSTILE, LONG, {}, HOSTILE, HOSTILE)
    sqlite_ledger.acts.end(act, ActState.WITHDRAWN, {"by": HOSTILE})
    assert look("/audit", actor=HOSTILE).count("&lt;script&gt;") >= 4
