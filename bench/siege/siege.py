"""Fires shots at the web from many connections, and looks in the ledger for what was acknowledged."""

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from statistics import median
from typing import Final

from bench.siege.shots import ENDS_CONNECTION, Shot, shots
from bench.siege.web import Web
from workers.kernel.ledger import connect

PATIENCE: Final = 20.0
"""Seconds after which a request that was sent whole and not answered counts as a hang."""
ALLOWED: Final = (501, 503)
"""Answers of the 500s that are no fault: a method that nobody knows, a ledger that is away."""


@dataclass
class Outcome:
    """What came of a siege. `answers` counts by kind of shot and status; `closed` is an end without an answer."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    acknowledged: dict[str, str] = field(default_factory=dict)
    hangs: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0
    health: list[float] = field(default_factory=list)
    deaths: int = 0
    memory: float = 0.0

    @property
    def faults(self) -> int:
        """How many answers were a fault of ours."""
        return sum(
            number
            for (_, status), number in self.answers.items()
            if status.isdigit() and int(status) >= 500 and int(status) not in ALLOWED
        )

    @property
    def requests(self) -> int:
        return sum(self.answers.values())

    @property
    def held(self) -> bool:
        """Whether nothing was lost, hung, failed or died."""
        return not (self.lost or self.hangs or self.faults or self.deaths)


def lay(web: Web, seeds: Sequence[int], number: int) -> Outcome:
    """Fire `number` shots from each seed, each seed from a connection of its own, and judge what came of them."""
    outcome, before = Outcome(), web.processes()
    started = time.monotonic()
    with _health_watched(web, outcome), ThreadPoolExecutor(len(seeds)) as pool:
        for part in pool.map(lambda seed: _fire(web, shots(seed, number)), seeds):
            outcome.answers += part.answers
            outcome.hangs += part.hangs
            outcome.acknowledged |= part.acknowledged
    outcome.seconds = time.monotonic() - started
    outcome.memory = web.memory()
    outcome.deaths = len(before - web.processes())
    outcome.lost = _lost(web, outcome.acknowledged)
    return outcome


def _fire(web: Web, made: Iterator[Shot]) -> Outcome:
    outcome, connection = Outcome(), None
    for shot in made:
        connection = connection or socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE)
        try:
            status, told, goes_on = _answer(connection, shot)
        except TimeoutError:
            status, told, goes_on = "none", b"", False
            outcome.hangs += 1
        except (OSError, http.client.HTTPException):
            status, told, goes_on = "closed", b"", False
        outcome.answers[shot.kind, status] += 1
        if shot.event and status == "200" and b'"received":true' in told:
            outcome.acknowledged[shot.event[0]] = sha256(shot.event[1]).hexdigest()
        if not goes_on:
            connection.close()
            connection = None
    if connection:
        connection.close()
    return outcome


def _answer(connection: socket.socket, shot: Shot) -> tuple[str, bytes, bool]:
    """Send a request and return (status, body, whether the connection goes on)."""
    with suppress(ConnectionError):  # it may be refused while it is still being sent
        connection.sendall(shot.raw)
    answer = http.client.HTTPResponse(connection, method=shot.raw.split(b" ", 1)[0].decode("latin-1"))
    answer.begin()
    told = answer.read()
    return str(answer.status), told, not (answer.will_close or shot.kind == ENDS_CONNECTION)


@contextmanager
def _health_watched(web: Web, outcome: Outcome) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            outcome.health.append(web.healthy_in())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _lost(web: Web, acknowledged: dict[str, str]) -> list[str]:
    """Return the events that were acknowledged and are not in the ledger as they were sent."""
    ledger = connect(web.database_url)
    kept = {event.id: event.sha256 for page in ledger.events.pages() for event in page}
    ledger.close()
    return [event_id for event_id, digest in acknowledged.items() if kept.get(event_id) != digest]


def told(outcome: Outcome) -> Iterator[str]:
    """Yield the lines that a person reads."""
    kinds: dict[str, Counter[str]] = {}
    for (kind, status), number in sorted(outcome.answers.items()):
        kinds.setdefault(kind, Counter())[status] += number
    for kind, statuses in kinds.items():
        yield f"  {kind:<24} {'  '.join(f'{status} x {number:,}' for status, number in statuses.items())}"
    kept = f"{len(outcome.acknowledged):,} events acknowledged, {len(outcome.lost)} lost"
    ends = f"{outcome.hangs} hangs, {outcome.faults} faults, {outcome.deaths} processes died"
    yield f"{outcome.requests:,} requests in {outcome.seconds:.0f} s: {kept}, {ends}"
    slowest = max(outcome.health) * 1000
    yield f"/healthz meanwhile: median {median(outcome.health) * 1000:.0f} ms, slowest {slowest:.0f} ms"
    yield f"the largest process holds {outcome.memory:.0f} MiB"
