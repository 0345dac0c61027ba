"""One scenario from an empty folder to its verdict."""

import random
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from bench.faults.house import House
from bench.faults.scenarios import SCENARIOS, Scenario
from bench.faults.stage import Stage
from bench.faults.truth import Verdict, drain, judge
from bench.faults.usage import Sender


@dataclass(frozen=True)
class Run:
    """A scenario that was played: `trouble` tells why it could not be played to its end."""

    name: str
    what: str
    broken: str | None
    verdict: Verdict | None
    seconds: float
    trouble: str | None = None

    @property
    def clean(self) -> bool:
        """Whether the goal was met."""
        return self.verdict is not None and self.verdict.clean

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain JSON."""
        verdict = self.verdict.as_json() if self.verdict else None
        return {"broken": self.broken, "seconds": self.seconds, "trouble": self.trouble, "verdict": verdict}


def play(
    name: str,
    seed: int,
    *,
    records: int | None = None,
    files: int | None = None,
    broken: str | None = None,
    keep: Path | None = None,
) -> Run:
    """Play a scenario in a folder of its own, kept where one is named; sizes default to the scenario's own."""
    scenario = SCENARIOS[name]
    scenario = replace(
        scenario,
        plan=replace(scenario.plan, broken=broken),
        records=records or scenario.records,
        files=files or scenario.files,
    )
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"mm-faults-{name}-") as folder:
        try:
            verdict, trouble = _verdict(scenario, keep or Path(folder) / "house", f"{seed}:{name}"), None
        except (TimeoutError, CalledProcessError) as error:
            verdict, trouble = None, str(error)
    return Run(name, scenario.what, broken, verdict, round(time.monotonic() - begun, 1), trouble)


def _verdict(scenario: Scenario, folder: Path, seed: str) -> Verdict:
    dice = random.Random(seed)
    with House(folder, scenario.plan) as house:
        sender = Sender(house, random.Random(f"{seed}:usage"))
        sender.set_up()
        scenario.play(Stage(house, sender, dice, scenario.records, scenario.files))
        drained_in = drain(house, scenario.patience)
        return judge(house, sender, drained_in=drained_in, may_fail=scenario.may_fail)
