"""The fault harness in small, and whether it sees anything; docs/FAULTS.md has the rest."""

import json
import subprocess
import sys
from typing import Any

import pytest

GOAL = {"lost": 0, "twice": 0, "wrong": 0, "stuck": 0, "proved": True}


def played(*arguments: str) -> Any:
    """Play scenarios and return what came of them."""
    command = [sys.executable, "-m", "bench.faults", *arguments, "--seed", "20261121", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_kills_lost_answers_an_empty_redis_and_duplicates_lose_nothing_and_bill_nothing_twice() -> None:
    """What one of them breaks, breaks in production on the first bad night."""
    verdict = played("small")["small"]["verdict"]
    assert {name: verdict[name] for name in GOAL} == GOAL, verdict
    assert verdict["billed"] + verdict["with_person"] == verdict["records"]


@pytest.mark.parametrize(
    ("scenario", "variant", "figure"),
    [
        ("cut-after-accept", "new_identifier_on_timeout", "twice"),
        ("crash-and-a-day", "intent_after_send", "twice"),
        ("cut-after-accept", "overlooked_row", "lost"),
    ],
)
def test_a_product_that_breaks_its_protocol_is_caught(scenario: str, variant: str, figure: str) -> None:
    """A harness that sees nothing proves nothing."""
    run = played(scenario, "--broken", variant, "--records", "120", "--events", "15")
    assert run[scenario]["verdict"][figure] > 0, run
