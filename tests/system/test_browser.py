"""Deciding in a browser, on the running service. If these fail, usage that a person could mend is never billed, or
is written off by one person alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.browser.chromium import chromium, log_in, needs_chromium
from tests.system.house import House
from tests.system.test_loop import HEADER, now

pytestmark = [pytest.mark.xdist_group("house"), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def ada(house: House, browser: Browser) -> Page:
    return somebody(house, browser, "ada")


@pytest.fixture(scope="module")
def bob(house: House, browser: Browser) -> Page:
    return somebody(house, browser, "bob")


def test_a_customer_is_mapped_and_his_usage_is_billed(house: House, ada: Page, bob: Page) -> None:
    """What is done most mornings: find the case, say who is meant, see what changes, apply it, see it billed."""
    house.control("customers", {"customers": ["cus_of_desk"]})
    refused(house, "desk-1", "desk_gmbh", "7")
    case = find(ada, "desk_gmbh")
    ask(ada, "Map a customer", old="desk_gmbh", new="cus_of_desk")
    row = ada.get_by_role("row").filter(has_text="desk-1")
    assert "desk_gmbh" in (row.text_content() or "")
    assert "cus_of_desk" in (row.text_content() or "")
    decide(ada, bob)
    house.until(lambda: house.billed().get(("api_requests", "cus_of_desk")) == "7", "the usage billed")
    house.until(lambda: ada.goto(case) and ada.locator(".badge.settled").count(), "the case settled")


def test_usage_is_written_off_by_two_people(house: House, ada: Page, bob: Page) -> None:
    refused(house, "desk-2", "gone_gmbh", "9")
    before = house.records()
    find(ada, "gone_gmbh")
    ask(ada, "Write off")
    approve(ada)
    ada.get_by_text("ada approved it").wait_for()
    assert not ada.get_by_role("button", name="Approve").is_visible()
    assert house.records()["written_off"] == before["written_off"]
    bob.goto(ada.url)
    approve(bob)
    bob.get_by_role("heading", name="Done").wait_for()
    after = house.records()
    assert after["written_off"] == before["written_off"] + 1
    assert after["quarantined"] == before["quarantined"] - 1


def test_a_quantity_is_mended_in_a_spreadsheet(house: House, ada: Page, bob: Page, tmp_path: Path) -> None:
    """`1,234` has two readings: whoever knows which edits the quarantine's CSV, and uploads it on its page."""
    house.control("customers", {"customers": ["cus_of_sheet"]})
    refused(house, "desk-3", "cus_of_sheet", '"1,234"')
    case = find(ada, "desk-3.csv")
    form = open_form(ada, "Fix in a spreadsheet")
    form.get_by_role("button", name="Write the CSV").click()
    with ada.expect_download() as download:
        ada.get_by_role("link", name="Download").click()
    sheet = tmp_path / "edited.csv"
    sheet.write_text(download.value.path().read_text().replace('"1,234"', "1234"))
    ada.goto(case)
    form = open_form(ada, "Fix in a spreadsheet")
    form.locator("[type=file]").set_input_files(sheet)
    form.locator("[name=why]").fill("it is a thousand and more")
    form.get_by_role("button", name="Show what it would change").click()
    decide(ada, bob)
    house.until(lambda: house.billed().get(("api_requests", "cus_of_sheet")) == "1234", "the usage billed")


def somebody(house: House, browser: Browser, name: str) -> Page:
    """A page of a browser in which an approver has logged in."""
    made = house.metermend("user", "add", name, "--role", "approver", "--generate")
    assert made.returncode == 0, made.stderr
    page = browser.new_context().new_page()
    log_in(page, house.web, name, made.stdout.split()[2])
    return page


def refused(house: House, identifier: str, customer: str, value: str) -> None:
    """Upload usage that waits for a person."""
    file = f"{identifier}.csv"
    house.upload(file, f"{HEADER}{identifier},{now()},api_requests,{customer},{value}\n")

    def waits() -> bool:
        told = house.metermend("cases", "--file", file, "--state", "needs_person", "--json")
        return bool(json.loads(told.stdout or "[]"))

    house.until(waits, "the case that needs a person")


def find(page: Page, text: str) -> str:
    """Go to the case that a search finds; return where it is."""
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases?q=*")
    assert page.locator(".rows tbody tr").count() == 1
    page.locator(".rows tbody a").first.click()
    page.locator("#decide").wait_for()
    return page.url


def ask(page: Page, act: str, **fields: str) -> None:
    """Ask for an act on the case's page, and wait until what it would change is shown."""
    form = open_form(page, act)
    for name, value in {**fields, "why": "they told us"}.items():
        form.locator(f"[name={name}]").fill(value)
    form.get_by_role("button").click()
    page.get_by_role("heading", name="What it changes").wait_for()


def open_form(page: Page, act: str) -> Locator:
    form = page.locator("details.act").filter(has=page.get_by_text(act, exact=True))
    form.locator("summary").click()
    return form


def decide(first: Page, second: Page) -> None:
    """Approve what the first page shows, by both, and wait until it is done."""
    approve(first)
    first.get_by_text("approved it").wait_for()
    second.goto(first.url)
    approve(second)
    second.get_by_role("heading", name="Done").wait_for()


def approve(page: Page) -> None:
    page.get_by_role("button", name="Approve").click()
