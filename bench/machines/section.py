"""The section `machines` of `python -m bench`."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

from bench.machines import pace, story
from bench.machines.house import HOSTS, JUDGE, s3_access
from bench.machines.network import Network, obstacle

JUDGED: Final = (
    "records",
    "events",
    "billed",
    "with_person",
    "lost",
    "twice",
    "wrong",
    "stuck",
    "proved",
    "drain_seconds",
)


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Play the story and measure the pace; prints what was done and judged, or why it cannot be done here."""
    hindered = obstacle()
    tell: Callable[[str], None] = (lambda _: None) if quiet else _tell
    if hindered:
        tell(f"machines: not done. {hindered}")
        return {"not_done": hindered}
    tell(f"machines: {len(HOSTS)} hosts as network namespaces: {', '.join(HOSTS)}")
    with ExitStack() as stack:
        network = stack.enter_context(Network(HOSTS))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="mm-machines-")))
        stack.enter_context(network.standing_on(JUDGE))
        stack.enter_context(patch.dict(os.environ, s3_access(network)))  # the judge reads the archive, too
        verdict = story.play(folder / "story", network, full=full, tell=tell)
        tell("  ".join(f"{name.replace('_', ' ')} {verdict[name]}" for name in JUDGED))
        paces = pace.measure(folder / "pace", network, rounds=rounds, tell=tell)
    return {"verdict": verdict, "pace": paces}


def _tell(line: str) -> None:
    print(line, flush=True)
