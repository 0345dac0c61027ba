"""The fault harness in small, and whether it sees anything; docs/FAULTS.md has the rest."""

import json
import subprocess
import sys
from typing import Any

SMALL = ("--records", "120", "--events", "15")
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


def test_a_product_that_makes_up_identifiers_or_overlooks_rows_is_caught() -> None:
    """A harness that sees nothing proves nothing."""
    broken = "new_identifier_on_timeout,overlooked_row"
    verdict = played("cut-after-accept", "--broken", broken, *SMALL)["cut-after-accept"]["verdict"]
    assert verdict["twice"] > 0, verdict
    assert verdict["lost"] > 0, verdict
