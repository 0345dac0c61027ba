"""What a scenario plays on: a house, a sender and dice, and the moves that scenarios share."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.faults.house import House
from bench.faults.usage import EARLY, Sender

FAULTY: Final = 20
"""Spoiled rows in a file, unless a scenario says otherwise."""
WORK_SECONDS: Final = 60.0
"""How long a scenario waits for something that has to happen."""


@dataclass
class Stage:
    """One run of one scenario."""

    house: House
    sender: Sender
    dice: random.Random
    records: int
    files: int

    def feed(self, files: int | None = None, *, every: float = 0.3, early: int = 0) -> None:
        """Upload the run's usage, a file each `every` seconds; now and then a file with a header of its own.

        `early` is how many rows of each file Stripe takes only some seconds later.
        """
        count = files or self.files
        for number in range(count):
            some = self.sender.some_faults(min(FAULTY, self.records // self.files) - early)
            faulty = [EARLY] * early + some
            self.sender.upload(self.records // self.files, faulty=faulty, renamed_header=number % 7 == 6)
            time.sleep(every)

    @contextmanager
    def feeding(self, *, every: float = 0.3) -> Iterator[None]:
        """Upload the run's usage beside what happens in the block; both have ended when it is left."""
        feeder = threading.Thread(target=self.feed, kwargs={"every": every}, name="feeder")
        feeder.start()
        try:
            yield
        finally:
            feeder.join()

    def workers(self) -> list[str]:
        """Return the names of the worker processes."""
        return self.house.supervisor.names("worker-")

    def kill_workers(self) -> None:
        """Kill -9 every worker."""
        for name in self.workers():
            self.house.supervisor.kill(name)

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait for what has to happen. Raises TimeoutError."""
        self.house.until(holds, WORK_SECONDS, what)

    def submitted(self) -> bool:
        """Whether a submission was ever intended."""
        return any(self.house.ledger.submissions.of_case(case) for case in self.house.ledger.queries.case_ids())

    def taken(self) -> int:
        """Return how many records the twin has taken."""
        return int(self.house.state()["accounts"].get("", {}).get("accepted", 0))
