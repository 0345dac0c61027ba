"""A real Chromium, and what axe says of a page in it. Neither is in the repository: tests skip without them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(".venv/axe/node_modules/axe-core/axe.min.js")
TIMEOUT_MS = 10_000

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="no axe-core here: `make axe` installs it where there is npm"
)


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


def faults(page: Page) -> list[str]:
    """What axe finds in a page that is serious or critical, as `rule: element`."""
    page.evaluate(AXE.read_text())
    found: Any = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]
