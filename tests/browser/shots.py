"""Photograph every page, light and dark, on a phone and on a desk: `python -m tests.browser.shots FOLDER`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser

from tests.browser.bad_day import PASSWORD, fill
from tests.browser.chromium import chromium, log_in
from tests.browser.console import an_app, served, usual_and_unlucky
from tests.conftest import FrozenClock
from workers.kernel.ledger import connect
from workers.kernel.ledger.database import Database
from workers.kernel.ledger.schema import upgrade

SIZES = {"phone": (360, 740), "desk": (1440, 900)}
SCHEMES = ("light", "dark")


def main(folder: Path) -> None:
    """Write `PAGE-SIZE-SCHEME.png` for each page."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as there:
        address = f"sqlite:///{there}/ledger.db"
        database = Database(address)
        upgrade(database)
        database.close()
        clock = FrozenClock()
        ledger = connect(address, clock)
        fill(ledger, clock)
        app = an_app(ledger, clock)
        with served(app) as console, chromium() as browser:
            page = browser.new_page()
            log_in(page, console, "ada", PASSWORD)
            places = dict(usual_and_unlucky(page, app, console, ledger))
            page.close()
            for size in SIZES:
                for scheme in SCHEMES:
                    _photograph(browser, console, places, folder, size, scheme)
        ledger.close()


def _photograph(
    browser: Browser, console: str, places: dict[str, str], folder: Path, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page.goto(f"{console}/console/login")
    page.screenshot(path=folder / f"login-{size}-{scheme}.png")
    log_in(page, console, "ada", PASSWORD)
    for what, where in places.items():
        page.goto(where)
        name = what.replace(" ", "_")
        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
    page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
