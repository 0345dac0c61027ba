"""The Stripe CLI in the demo: it speaks with the twin where it would with Stripe, and forwards its events to us.

With the environment that is made here it runs unchanged. What is run, and what must come of it, is in `cli_acts`.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workers.cli.processes import Processes
from workers.kernel.errors import InputUnusable

KEY: Final = "sk_test_metermend_demo"
FOLDER: Final = Path(".venv/npm/node_modules/.bin")
"""Where `make by-npm` lays the CLI."""
SECONDS: Final = 30.0
"""That a command of the CLI may take, and an event on its way through `stripe listen`."""
_FORWARDED: Final = re.compile(r"<--\s+\[(?P<status>\d+)\] POST \S+ \[(?P<event>\w+)\]")


def cli_variables(proxy: str, authority: Path) -> dict[str, str]:
    """Return the environment of the CLI: the address of who answers as Stripe, and who signs for him (PEM)."""
    return {
        "HTTPS_PROXY": proxy,
        "SSL_CERT_FILE": str(authority),
        "STRIPE_API_KEY": KEY,
        "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
    }


def find_cli() -> str:
    """Return the CLI's program, PATH's before npm's. Raises InputUnusable where there is none."""
    program = shutil.which("stripe") or shutil.which("stripe", path=FOLDER)
    if program is None:
        raise InputUnusable("the Stripe CLI is not here", mend="make by-npm, or npm install -g @stripe/cli")
    return program


@dataclass(frozen=True)
class StripeCli:
    """The program, and the variables that it is given besides our own."""

    program: str
    variables: Mapping[str, str]

    def run(self, *arguments: str) -> str:
        """Run a command to its end and return what it printed. Raises InputUnusable when it fails."""
        try:
            done = subprocess.run(
                [self.program, *arguments],
                env={**os.environ, **self.variables},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputUnusable(f"stripe {' '.join(arguments)} has not ended after {SECONDS:.0f} s") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
            raise InputUnusable(f"stripe {' '.join(arguments)} failed: {said[-1]}")
        return done.stdout


class Listening:
    """A running `stripe listen` that forwards events of one kind to `url`."""

    def __init__(self, cli: StripeCli, processes: Processes, kind: str, url: str) -> None:
        self.command = ("listen", f"--all-{kind}", "--forward-to", url)
        name = f"stripe-listen-{kind}"
        self._log = processes.log_dir / f"{name}.log"
        processes.start(name, [cli.program, *self.command, "--skip-update"], cli.variables)

    def is_ready(self) -> bool:
        """Wait until it hears of Stripe's events; False when it does not come to it."""
        return _comes_true(lambda: "Ready!" in self._printed())

    def forwards(self, event_id: str, times: int) -> bool:
        """Wait until we have answered it for this event so many times; False when it does not come to it."""
        return _comes_true(lambda: [event for event, _ in self.answers()].count(event_id) >= times)

    def answers(self) -> list[tuple[str, int]]:
        """Return each event that it has forwarded, with the status of our answer."""
        return [(found["event"], int(found["status"])) for found in _FORWARDED.finditer(self._printed())]

    def _printed(self) -> str:
        return self._log.read_text(errors="replace")


def _comes_true(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
