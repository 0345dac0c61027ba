"""The fault harness in small, and whether it sees anything; docs/FAULTS.md has the rest."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bench.faults.house import House
from bench.faults.truth import judge
from bench.faults.usage import Meant, Sender
from workers.kernel.ledger import Ledger

AT = 1_790_000_000
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


def test_a_record_that_is_lost_billed_twice_or_billed_otherwise_is_counted(
    sqlite_ledger: Ledger, tmp_path: Path
) -> None:
    """A harness that sees nothing proves nothing. The broken products themselves are played by `make bench`."""
    meant = {name: Meant(AT, "api_requests", "cus_1", Decimal(1)) for name in ("right", "twice", "wrong", "lost")}
    billed = [("right", "1"), ("twice", "1"), ("twice~r2", "1"), ("wrong", "10")]
    house = SimpleNamespace(
        ledger=sqlite_ledger,
        environment={"DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db", "STRIPE_API_KEY": "sk_test_verdict1"},
        billed=lambda: [{"meter": "mtr_1", "event_name": "api_requests", "customer": "cus_1", "total": "13"}],
        accepted=lambda: [
            {"identifier": name, "meter": "mtr_1", "customer": "cus_1", "timestamp": AT, "value": value}
            for name, value in billed
        ],
        metermend=lambda *_: SimpleNamespace(returncode=0),
        supervisor=SimpleNamespace(restarts=lambda: 0),
    )
    sender = SimpleNamespace(meant=meant, hopeless=set())
    verdict = judge(cast("House", house), cast("Sender", sender), drained_in=0.0)
    assert (verdict.lost, verdict.twice, verdict.wrong) == (1, 1, 1)
    assert not verdict.clean
