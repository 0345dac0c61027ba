"""Runs the web and the bare route side by side, on SQLite and on PostgreSQL, and posts to each in turn.

Nobody works on what comes in, but hints are taken out of the queue as workers would, so that each event is hinted
at. Every answer of 200 is looked for in the ledger afterwards. The ratio of CPU time is that of the web processes
alone: it tells what a post costs even where others keep the machine busy.
"""

import itertools
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from redis import Redis
from sqlalchemy import func, select

from bench.faults.databases import Postgres, SqliteFile
from bench.faults.processes import Supervisor
from bench.faults.redis_server import RedisServer
from bench.intake.loader import MISSING, Load, sent
from bench.intake.posts import BODIES, lay_out
from bench.siege.shots import SECRET
from bench.siege.web import Web
from workers.cli.db import migrate
from workers.cli.processes import free_ports, web_command
from workers.kernel.jobqueue import EVENTS
from workers.kernel.ledger import connect
from workers.kernel.ledger.tables import events

CONNECTIONS: Final = (1, 16, 64)
SECONDS: Final = 3.0
FULL_SECONDS: Final = 10.0
FASTEST: Final = 6_000
"""Posts a second that are prepared: more would be sent twice, and a duplicate costs less than an event."""
TAKEN_EVERY: Final = 0.02
"""Seconds after which waiting hints are taken: at this pace the queue is never crowded."""
APPS: Final = {"ours": "webhooks.wsgi:app", "bare": "bench.intake.bare:app"}
GOAL_RATIO: Final = 0.35
GOAL_P99_MS: Final = 50
GOAL_CONNECTIONS: Final = 16


def run(*, full: bool, rounds: int, quiet: bool) -> dict[str, Any]:
    """Post for some seconds with each number of connections; medians of the rounds. Says where wrk is missing."""
    if shutil.which("wrk") is None:
        print(MISSING)
        return {}
    found = {}
    for name in ("SQLite", "PostgreSQL"):
        with _running(name) as target:
            found[name] = _measured(target, FULL_SECONDS if full else SECONDS, rounds)
        if not quiet:
            _print(name, found[name])
    return found


@dataclass
class _Target:
    """Both webs, and the folder for what is posted."""

    ours: Web
    bare: Web
    folder: Path
    prepared: Iterator[int] = field(default_factory=itertools.count)


@contextmanager
def _running(name: str) -> Iterator[_Target]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="mm-intake-")))
        database = SqliteFile(folder) if name == "SQLite" else Postgres()
        stack.callback(database.close)
        migrate(database.url)
        supervisor = Supervisor(folder / "logs")
        stack.callback(supervisor.close)
        redis = RedisServer(supervisor)
        stack.callback(redis.close)
        environment = {
            **os.environ, "STRIPE_WEBHOOK_SECRETS": SECRET, "STRIPE_API_KEY": "sk_test_intake1",
            "DATABASE_URL": database.url, "REDIS_URL": redis.url, "ARCHIVE_URL": str(folder / "archive"),
        }  # fmt: skip
        log_dir = folder / "logs"

        def started(title: str, port: int) -> Web:
            # A process that is recycled in its turn would look like a slow one.
            command = [*web_command(port), "--max-requests", "0", APPS[title]]
            supervisor.start(title, command, environment)
            web = Web(port, supervisor.pids(title)[0], database.url, log_dir / f"{title}.log")
            web.wait()
            return web

        ours, bare = free_ports(0, 0)
        target = _Target(started("ours", ours), started("bare", bare), folder)
        with _hints_taken(redis.url):
            yield target


@contextmanager
def _hints_taken(redis_url: str) -> Iterator[None]:
    """Take away what waits in the queue, again and again."""
    over = threading.Event()

    def take() -> None:
        with Redis.from_url(redis_url) as redis:
            while not over.wait(TAKEN_EVERY):
                redis.delete(f"rq:queue:{EVENTS}")

    taker = threading.Thread(target=take)
    taker.start()
    try:
        yield
    finally:
        over.set()
        taker.join()


def _measured(target: _Target, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Return (kind of body, connections) -> figures; the first seconds warm both webs up and are not counted."""
    _round(target, "thin", GOAL_CONNECTIONS, 1.0)
    return {
        f"{kind}, {connections} connections": _middle(
            [_round(target, kind, connections, seconds) for _ in range(rounds)]
        )
        for kind, connections in itertools.product(BODIES, CONNECTIONS)
    }


def _round(target: _Target, kind: str, connections: int, seconds: float) -> tuple[Load, Load]:
    """Post to both, the bare route first. Raises RuntimeError where an answer of 200 is not in the ledger."""
    name, number = f"r{next(target.prepared)}", int(FASTEST * seconds)
    posts = target.folder / "posts"
    lay_out(posts, kind, name, number)
    bare, ours = (_posted(web, posts, connections, seconds) for web in (target.bare, target.ours))
    kept, taken = _kept(target.ours.database_url, name), ours.requests - ours.refused
    if ours.requests > number:
        raise RuntimeError(f"{number} posts were not enough: {ours.requests} were sent")
    if kept < taken:
        raise RuntimeError(f"{taken} posts were taken, and {kept} events are in the ledger")
    return bare, ours


def _posted(web: Web, posts: Path, connections: int, seconds: float) -> Load:
    before = _cpu_seconds(web)
    load = sent(web.port, posts, connections, seconds)
    return replace(load, cpu_seconds=_cpu_seconds(web) - before)


def _cpu_seconds(web: Web) -> float:
    """Return the processor's time of a web's processes up to now."""
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in web.processes())
    return sum(int(ticks) for fields in stats for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def _kept(database_url: str, name: str) -> int:
    ledger = connect(database_url)
    [kept] = ledger.database.values(
        select(func.count()).select_from(events).where(events.c.id.startswith(f"evt_{name}_", autoescape=True))
    )
    ledger.close()
    return kept


def _middle(rounds: Sequence[tuple[Load, Load]]) -> dict[str, float]:
    """Return the medians; the ratio is that of each round."""
    return {
        "bare": median(bare.rate for bare, _ in rounds),
        "ours": median(ours.rate for _, ours in rounds),
        "ratio": median(ours.rate / bare.rate for bare, ours in rounds),
        "cpu ratio": median(bare.cpu / ours.cpu for bare, ours in rounds),
        "bare p99": median(bare.p99 for bare, _ in rounds),
        "p50": median(ours.p50 for _, ours in rounds),
        "p99": median(ours.p99 for _, ours in rounds),
        "p99 ratio": median(ours.p99 / bare.p99 for bare, ours in rounds),
        "refused": max(ours.refused + ours.broken for _, ours in rounds),
    }


def _print(name: str, found: Mapping[str, Mapping[str, float]]) -> None:
    print(f"{name}; the goal at {GOAL_CONNECTIONS} connections is a ratio of {GOAL_RATIO}, p99 {GOAL_P99_MS} ms")
    for title, one in found.items():
        print(
            f"  {title:<24} {one['ours']:6,.0f}/s, bare {one['bare']:6,.0f}/s: {one['ratio']:.2f}"
            f" (of CPU time {one['cpu ratio']:.2f})"
            f"   p50 {one['p50']:6.1f}  p99 {one['p99']:6.1f} ms"
            f", bare {one['bare p99']:6.1f} ms: {one['p99 ratio']:5.1f}"
            f"   refused {one['refused']:.0f}"
        )
