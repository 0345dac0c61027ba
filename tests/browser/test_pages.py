"""The pages in a real browser. If these fail, somebody who works by keyboard, by ear, on a phone or at night cannot do
what must be done about refused usage."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page

from tests.browser.bad_day import fill
from tests.browser.chromium import chromium, faults, needs_axe, needs_chromium
from tests.browser.console import an_app, log_in, pages, served
from tests.builders import a_failure
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger, connect

pytestmark = [pytest.mark.xdist_group("browser"), needs_chromium]

PHONE, TABLET, DESK = (360, 740), (700, 900), (1440, 900)


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
def app(ledger: Ledger) -> Flask:
    return an_app(ledger, FrozenClock())


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
    log_in(page, address)
    return page


@pytest.fixture(scope="module")
def places(page: Page, app: Flask, address: str, ledger: Ledger) -> dict[str, str]:
    """A page of each kind, and the unlucky ones: by what it is, where."""
    unlucky = {"a hostile case": f"{address}/console/cases/{a_failure('report:61').case_id}"}
    acts = {f"an act that is {act.state}": f"{address}/console/acts/{act.id}" for act in ledger.acts.all()}
    return {**dict(pages(page, app, address)), **unlucky, **acts, "nowhere": f"{address}/console/nowhere"}


def test_no_page_is_wider_than_a_phone(page: Page, places: dict[str, str]) -> None:
    wide = {}
    for what, where in places.items():
        page.goto(where)
        for width, height in (PHONE, TABLET, DESK):
            page.set_viewport_size({"width": width, "height": height})
            if (over := page.evaluate("document.documentElement.scrollWidth")) > width:
                wide[f"{what} at {width}"] = over
    assert wide == {}


@needs_axe
@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)])
def test_nobody_is_kept_out_of_a_page(
    page: Page, places: dict[str, str], scheme: str, size: tuple[int, int]
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": size[0], "height": size[1]})
    found = {}
    for what, where in places.items():
        page.goto(where)
        if serious := faults(page):
            found[what] = serious
    assert found == {}
