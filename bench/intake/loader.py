"""One run of wrk over prepared posts, from one thread and so many connections."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).with_name("posts.lua")
MISSING: Final = "wrk is not here: apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)"


@dataclass(frozen=True)
class Load:
    """What came of one run: answers, those that were no 2xx, connections that broke; latencies are in ms."""

    requests: int
    seconds: float
    refused: int
    broken: int
    p50: float
    p99: float
    longest: float
    cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    @property
    def cpu(self) -> float:
        """Seconds of the processor for each request, in the web's own processes."""
        return self.cpu_seconds / self.requests


def sent(port: int, posts: Path, connections: int, seconds: float) -> Load:
    """Send the posts in turn for so long, starting anew behind the last. Raises RuntimeError without wrk."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError(MISSING)
    options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(SCRIPT)]
    command = [wrk, *options, f"http://127.0.0.1:{port}/webhooks", "--", str(posts)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 120).stdout
    return Load(**json.loads(told.splitlines()[-1]))
