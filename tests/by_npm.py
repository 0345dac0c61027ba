"""What npm alone has, laid into .venv/npm by `make by-npm` while others run: Stripe CLI, axe, Azurite, a linter."""

import shutil
import time
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parents[1] / ".venv" / "npm"
IN_WORK: Final = FOLDER / ".in-work"
LONGEST_INSTALL: Final = 120
"""Seconds that a test waits for npm."""


def stripe_cli() -> str:
    """Return the path of the Stripe CLI; skips the test where there is none."""
    return shutil.which("stripe") or str(installed(".bin/stripe"))


def installed(name: str) -> Path:
    """Return the path of what npm has laid down; skips the test where it has not."""
    until = time.monotonic() + LONGEST_INSTALL
    while IN_WORK.exists() and time.monotonic() < until:
        time.sleep(0.2)
    path = FOLDER / "node_modules" / name
    if not path.exists():
        pytest.skip(f"{path.name} is not here: `make by-npm` installs it where there is npm")
    return path
