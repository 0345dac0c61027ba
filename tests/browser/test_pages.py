"""The pages in a real browser. If these fail, who works by keyboard, by ear, on a phone or at night loses usage
that others can still mend."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page

from tests.browser.bad_day import PAGE_LENGTH, PASSWORD, fill
from tests.browser.chromium import chromium, faults, load_axe, log_in, needs_chromium
from tests.browser.console import an_app, served, usual_and_unlucky
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger, connect

pytestmark = [pytest.mark.xdist_group("browser"), needs_chromium]

COLOURS = ("color-contrast", "link-in-text-block")
"""What is another thing in the dark; all else that axe looks at is the same."""
BY_NIGHT = ("pages.overview", "pages.case_list", "a hostile case", "an act that is done")
"""Between them they have every piece that has a colour."""
ALIKE = ("acts.act_list", "pages.case_page", "pages.audit", "pages.incident_list", "pages.incident_page")
"""Pages of which each piece stands on another one, too: axe says the same of them."""
NOTHING: dict[str, Any] = {"records": 0, "quantities": {}, "cases": {}, "examples": [], "warnings": []}
PHONE, TABLET, LAPTOP, DESK = (360, 740), (780, 900), (1160, 800), (1440, 900)
"""On a tablet tables are as narrow as they get, on a laptop their cells are wide for the first time."""


@pytest.fixture(scope="module")
def ledger(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger after a bad day, for all tests here."""
    path = tmp_path_factory.mktemp("bad_day") / "ledger.db"
    shutil.copy(migrated_sqlite, path)
    clock = FrozenClock()
    ledger = connect(f"sqlite:///{path}", clock)
    fill(ledger, clock)
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def app(ledger: Ledger) -> Iterator[Flask]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cases", "events"):
            patch.setattr(f"webhooks.console.{name}.PAGE_LENGTH", PAGE_LENGTH)
        yield an_app(ledger, FrozenClock())


@pytest.fixture(scope="module")
def address(app: Flask) -> Iterator[str]:
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Page:
    page = browser.new_page()
    log_in(page, address, "ada", PASSWORD)
    return page


@dataclass
class Seen:
    """What was seen on all pages: which are wider than their screen, and what axe finds, each by what it is."""

    wide: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(page: Page, app: Flask, address: str, ledger: Ledger) -> Seen:
    """Open each page once, and look at it in all ways."""
    seen = Seen()
    for what, _ in usual_and_unlucky(page, app, address, ledger):
        for width, height in (PHONE, TABLET, LAPTOP, DESK):
            page.set_viewport_size({"width": width, "height": height})
            if (over := page.evaluate("document.documentElement.scrollWidth")) > width:
                seen.wide[f"{what} at {width}"] = over
        if what in ALIKE:
            continue
        load_axe(page)
        seen.faults[what] = faults(page)
        if what in BY_NIGHT:
            page.emulate_media(color_scheme="dark")
            page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
            seen.faults[f"{what}, at night"] = faults(page, *COLOURS)
            page.emulate_media(color_scheme="light")
    return seen


def test_no_page_is_wider_than_a_phone(seen: Seen) -> None:
    assert seen.wide == {}


def test_nobody_is_kept_out_of_a_page(seen: Seen) -> None:
    assert set(BY_NIGHT) <= set(seen.faults)
    assert {what: serious for what, serious in seen.faults.items() if serious} == {}


def test_a_case_is_found_and_opened_without_a_mouse(page: Page, address: str) -> None:
    page.goto(f"{address}/console/")
    page.keyboard.press("/")
    page.keyboard.type("jack")
    assert page.locator("input[name=q]").input_value() == "jack"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/console/cases?q=jack")
    page.goto(f"{address}/console/cases")
    for key in "jjjk":
        page.keyboard.press(key)
    second = page.locator(".rows tbody tr").nth(1).locator("a").first
    assert second.evaluate("link => link === document.activeElement")
    there = second.evaluate("link => link.href")
    page.keyboard.press("Enter")
    page.wait_for_url(there)


def test_keys_are_told_and_can_be_switched_off(page: Page, address: str) -> None:
    """Who speaks to his browser has every word of his taken for a key."""
    page.goto(f"{address}/console/")
    page.keyboard.press("?")
    told = page.get_by_role("dialog", name="Keys")
    told.get_by_label("Keys are on").uncheck()
    page.keyboard.press("Escape")
    assert not told.is_visible()
    page.keyboard.press("?")
    assert not told.is_visible()
    page.get_by_role("button", name="Keys").click()
    told.get_by_label("Keys are on").check()
    told.get_by_role("button", name="Close").click()
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url(f"{address}/console/acts/")


def test_a_page_that_waits_for_a_worker_shows_his_answer_and_keeps_the_focus(
    page: Page, address: str, ledger: Ledger
) -> None:
    act = ledger.acts.ask("write_off", None, {}, "ada", "too old")
    page.goto(f"{address}/console/acts/{act.id}")
    page.locator(".crumbs a").first.focus()
    page.evaluate("window.same = true")
    ledger.acts.show(act, {**NOTHING, "summary": "3 records are written off"}, "f" * 64)
    page.get_by_role("heading", name="3 records are written off").wait_for()
    assert page.evaluate("window.same && document.activeElement.textContent") == "Acts"
    assert page.get_by_role("status").text_content() == "shown"
    assert page.get_by_role("button", name="Approve").is_visible()
