"""What one, two and three hosts of workers drain, and which processor time an event costs where.

Each event tells of a file that Stripe refused whole. All hosts share this machine's processors, so that the ratios
tell what the parts that are shared allow, until the processors are used up: the processor time tells the rest.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.faults.house import Plan
from bench.faults.usage import Sender
from bench.machines.house import DATA, WORK, Machines
from bench.machines.network import Network
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState

EVENTS: Final = 30
SETTINGS: Final = {"CONFIRMATION_WINDOW": "3600", "RECONCILE_INTERVAL": "3600", "TOTALS_DELAY": "3600"}
"""Nothing is confirmed meanwhile: a case is done with once it is sent."""
PATIENCE: Final = 300.0
LAST_LOOK: Final = 2.0
"""Seconds after which Redis gives nothing any more to a worker that was stopped as it waited."""


def measure(folder: Path, network: Network, *, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return events a second by hosts of workers, medians of the rounds, and processors' milliseconds an event."""
    paces: dict[int, list[float]] = {number: [] for number in range(1, len(WORK) + 1)}
    spent: Counter[str] = Counter()
    with Machines(folder, Plan(ledger="postgres", settings=SETTINGS), network) as house:
        sender = Sender(house, random.Random("pace"))
        sender.set_up()
        _drained_by(house, sender, len(WORK))  # what each process does once is not counted
        for _ in range(rounds):
            for number, found in paces.items():
                before = _processors(house)
                found.append(EVENTS / _drained_by(house, sender, number))
                spent += _processors(house) - before
    events = EVENTS * rounds * len(paces)
    by_hosts = {str(number): round(median(found), 1) for number, found in paces.items()}
    by_part = {part: round(1000 * seconds / events, 1) for part, seconds in spent.most_common() if seconds}
    one = by_hosts["1"]
    tell("  ".join(f"{n} hosts {pace} events/s (x{pace / one:.2f})" for n, pace in by_hosts.items()))
    tell("ms of processors an event: " + ", ".join(f"{part} {spent}" for part, spent in by_part.items()))
    return {"events_per_second": by_hosts, "cpu_ms_per_event": by_part}


def _drained_by(house: Machines, sender: Sender, workers: int) -> float:
    """Return the seconds that so many hosts of workers take for events that wait already."""
    for host in WORK:
        house.supervisor.freeze(f"worker.{host}")
    time.sleep(LAST_LOOK)
    sent = _cases(house, CaseState.AWAITING)
    for _ in range(EVENTS):
        sender.upload(1, renamed_header=True)
    house.until(lambda: _waiting(house) >= EVENTS, PATIENCE, "events")
    begun = time.monotonic()
    for host in WORK[:workers]:
        house.supervisor.thaw(f"worker.{host}")
    house.until(lambda: _cases(house, CaseState.AWAITING) == sent + EVENTS, PATIENCE, "cases that are sent")
    seconds = time.monotonic() - begun
    for host in WORK:
        house.supervisor.thaw(f"worker.{host}")
    house.until(lambda: _told(house) >= house.uploaded() and not _waiting(house), PATIENCE, "rest")
    return seconds


def _cases(house: Machines, state: CaseState) -> int:
    return house.ledger.queries.case_counts().get(state, 0)


def _waiting(house: Machines) -> int:
    counts = house.ledger.queries.event_counts()
    return counts.get(EventState.RECEIVED, 0) + counts.get(EventState.PROCESSING, 0)


def _told(house: Machines) -> int:
    """Return how many files Stripe has told of: the sender's were refused, ours taken."""
    return sum(house.ledger.queries.event_counts().values())


def _processors(house: Machines) -> Counter[str]:
    """Return the seconds that each part has used: workers together, and what they share by program."""
    workers = sum(sum(house.network.cpu_seconds(host).values()) for host in WORK)
    return Counter({"workers": workers}) + house.network.cpu_seconds(DATA)
