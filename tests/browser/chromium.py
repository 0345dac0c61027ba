"""A real Chromium, and what axe says of a page in it. Neither is in the repository: tests skip without them.

Nothing of the product is imported here.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.by_npm import installed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TIMEOUT_MS = 10_000

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser without a window, and end it."""
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has none
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*alone, "--disable-dev-shm-usage"], timeout=TIMEOUT_MS
        )
        try:
            yield browser
        finally:
            browser.close()


def load_axe(page: Page) -> None:
    """Put axe into a page, which the page's own policy would not allow; skips the test where there is none."""
    page.evaluate(installed("axe-core/axe.min.js").read_text())


def faults(page: Page, *rules: str) -> list[str]:
    """What axe, once loaded, finds in a page that is serious or critical, as `rule: element`.

    It looks at the first rows of a table, and by `rules`, or by all where none is named.
    """
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    run = "options => axe.run({exclude: ['.rows tr:nth-child(n + 6)']}, options)"
    found: Any = page.evaluate(run, options)
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]


def log_in(page: Page, address: str, name: str, password: str) -> None:
    """Log in as somebody, as he does."""
    page.goto(f"{address}/console/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
