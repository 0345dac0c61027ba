"""Running a task in a process of its own, with its time and its peak of resident memory."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Measured:
    """Seconds of the work by the clock and of all processors, and the peak of resident memory in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def measured(module: str, arguments: Sequence[str]) -> Measured:
    """Run `python -m module arguments…`, which prints both seconds as JSON; raises RuntimeError where it fails."""
    with subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} ended with {process.returncode}")
    return Measured(**json.loads(answer), peak_mib=usage.ru_maxrss / 1024)


def middle(runs: Sequence[Measured]) -> Measured:
    """Return the medians of the runs."""
    return Measured(
        seconds=median(run.seconds for run in runs),
        cpu_seconds=median(run.cpu_seconds for run in runs),
        peak_mib=median(run.peak_mib for run in runs),
    )
