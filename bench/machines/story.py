"""What happens to the hosts while usage comes in, step by step, and the verdict afterwards."""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.faults.house import Plan
from bench.faults.stage import Stage
from bench.faults.truth import drain, judge
from bench.faults.usage import Sender
from bench.machines.house import DATA, STRIPE, Machines
from bench.machines.network import Network

RECORDS, FILES = 600, 12
FULL: Final = 5
"""How many times as much is sent with `--full`."""
EVERY: Final = 9.0
"""Seconds between two files: usage comes in during every step."""
PATIENCE: Final = 900.0
"""Seconds in which all must come to rest: a read of S3 that hangs is given up after two minutes."""
SETTINGS: Final = {"RECONCILE_INTERVAL": "5"}


def _dies(*hosts: str, seconds: float) -> Callable[[Machines], None]:
    def step(house: Machines) -> None:
        for host in hosts:
            house.fell(host)
        time.sleep(seconds)
        for host in hosts:
            house.raise_again(host)

    return step


def _unplugged(host: str, seconds: float) -> Callable[[Machines], None]:
    def step(house: Machines) -> None:
        house.network.unplug(host)
        time.sleep(seconds)
        house.network.reconnect(host)

    return step


def _silent(host: str, seconds: float) -> Callable[[Machines], None]:
    def step(house: Machines) -> None:
        house.network.silence(host)
        time.sleep(seconds)
        house.network.reconnect(host)

    return step


def _servers_crash(house: Machines) -> None:
    house.supervisor.kill("redis")
    house.supervisor.kill("postgres")


STEPS: Final[Mapping[str, Callable[[Machines], None]]] = {
    "a host of workers dies, and is back after 6 s": _dies("work-1", seconds=6),
    "a host of workers falls silent for 25 s, longer than its leases hold": _silent("work-2", 25),
    "the host of one web dies for 5 s": _dies("web-1", seconds=5),
    "the host of the other web is unplugged for 8 s": _unplugged("web-2", 8),
    "the host of ledger, queue and archive falls silent for 10 s": _silent(DATA, 10),
    "it is unplugged for 25 s": _unplugged(DATA, 25),
    "Redis and PostgreSQL are killed on it, Redis without its memory": _servers_crash,
    "Stripe's host falls silent for 10 s": _silent(STRIPE, 10),
    "two of three hosts of workers die for 15 s": _dies("work-1", "work-3", seconds=15),
}


def play(folder: Path, network: Network, *, full: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    """Play the steps and return the verdict; each is told as it begins."""
    files = FILES * (FULL if full else 1)
    with Machines(folder, Plan(ledger="postgres", settings=SETTINGS), network) as house:
        sender = Sender(house, random.Random("machines"))
        sender.set_up()
        stage = Stage(house, sender, random.Random("steps"), RECORDS * files // FILES, files)
        begun = time.monotonic()
        with stage.feeding(every=EVERY / (FULL if full else 1)):
            for what, step in STEPS.items():
                tell(f"{time.monotonic() - begun:5.0f} s  {what}")
                step(house)
                time.sleep(3)
        tell(f"{time.monotonic() - begun:5.0f} s  all is whole; waiting for rest")
        return judge(house, sender, drained_in=drain(house, PATIENCE)).as_json()
