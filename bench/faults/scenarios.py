"""The scenarios, in the order of the table in docs/FAULTS.md. Each is a function over a `Stage`."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.faults import poison, storm
from bench.faults.crash_points import CRASH_POINTS, Gate
from bench.faults.databases import Postgres
from bench.faults.full_disk import full_archive
from bench.faults.house import Plan
from bench.faults.stage import Stage

API: Final = "meter-events"
DAY_AND_MORE: Final = 25 * 3600
TEN_MINUTES: Final = 600
"""A dead worker whose clock was ahead keeps its leases for so much longer."""
EVENTS: Final = "/v1/billing/meter_events"


@dataclass(frozen=True)
class Scenario:
    """A run: what happens, how the house is built, how much is sent, and who plays it.

    `patience`: seconds in which everything must come to rest. `may_fail`: events that are meant to end as failed.
    """

    what: str
    play: Callable[[Stage], None]
    plan: Plan = field(default_factory=Plan)
    records: int = 600
    files: int = 12
    patience: float = 120.0
    may_fail: int = 0


def kill_at_random(stage: Stage) -> None:
    """Kill -9 web, workers and clock while usage is coming in."""
    with stage.feeding(every=0.8):
        for _ in range(16):
            stage.house.supervisor.kill(stage.dice.choice(["web", "clock", *stage.workers()]))
            time.sleep(stage.dice.uniform(0.2, 1.2))


def kill_at_every_crash_point(stage: Stage) -> None:
    """Kill before and after each transition of the ledger, each with usage of its own."""
    assert isinstance(stage.house.database, Postgres)
    gate = Gate(stage.house.database.url)
    for after_commit in (False, True):
        for name, point in CRASH_POINTS.items():
            if not _is_passed(name, stage.house.plan):
                continue
            with gate.closed_at(point, after_commit=after_commit):
                stage.feed(1, every=0, early=1)
                stage.until(gate.somebody_waits, f"a process at the point {name!r}")
                for victim in stage.house.supervisor.names(point.victim):
                    stage.house.supervisor.kill(victim)
    gate.close()


def _is_passed(point: str, plan: Plan) -> bool:
    """Whether anything comes by: the API has no import set and so no verdict."""
    return point != "verdict taken in" or plan.target != API


def kill_and_wait_a_day(stage: Stage) -> None:
    """Kill the workers in the middle of a submission, and let them come back when Stripe has forgotten it."""
    stage.house.fail_next("slow", EVENTS, times=8, after=20, seconds=20)
    stage.feed(every=0)
    stage.until(lambda: stage.house.state()["failures_waiting"] == 0, "calls that are answered late")
    for name in [*stage.workers(), "clock"]:
        stage.house.supervisor.down(name)
    stage.house.control("clock", {"advance": DAY_AND_MORE})
    stage.house.set_ahead(DAY_AND_MORE)


def redis_empty(stage: Stage) -> None:
    """Kill Redis three times; it comes back with nothing."""
    with stage.feeding():
        for _ in range(3):
            time.sleep(stage.dice.uniform(0.5, 1.5))
            stage.house.redis.restart_empty()


def redis_old(stage: Stage) -> None:
    """Bring Redis back with the queue of some time ago: jobs that are done stand in it again."""
    with stage.feeding():
        time.sleep(1.5)
        stage.house.redis.remember()
        time.sleep(2)
        stage.house.redis.restart_with_old_data()


def redis_paused(stage: Stage) -> None:
    """Freeze Redis for eight seconds: it takes connections and answers nothing."""
    with stage.feeding():
        time.sleep(1)
        stage.house.supervisor.freeze("redis")
        time.sleep(8)
        stage.house.supervisor.thaw("redis")


def ledger_away(stage: Stage) -> None:
    """Make the ledger unusable twice: web, workers and clock meet it in the middle of their work."""
    with stage.feeding(every=1):
        for seconds in (3, 8):
            time.sleep(stage.dice.uniform(1, 2))
            stage.house.database.break_for(seconds)


def archive_full(stage: Stage) -> None:
    """Let the archive's disk run full, and make room again."""
    with full_archive(stage.house) as make_room:
        stage.feed(every=0.2)
        time.sleep(6)
        make_room()
        time.sleep(1)


def quiet_feed(stage: Stage) -> None:
    """Send usage and do nothing else: the faults are the twin's own."""
    stage.feed()


def endpoint_away(stage: Stage) -> None:
    """Take the web down until Stripe has given up delivering, then reconcile."""
    stage.house.supervisor.down("web")
    stage.feed()
    stage.until(lambda: _given_up_delivering(stage), "Stripe giving up")
    stage.house.supervisor.up("web")
    done = stage.house.metermend("reconcile", "--since", "3d")
    assert done.returncode == 0, done.stderr


def _given_up_delivering(stage: Stage) -> bool:
    state = stage.house.state()
    return bool(state["deliveries"]["attempts"]) and not (
        state["deliveries"]["queued"] or state["deliveries"]["busy"] or state["waiting_to_publish"]
    )


def stripe_fails(stage: Stage) -> None:
    """Let Stripe answer 429 and 500, hang, and cut connections before and after it has done what was asked."""
    modes = [
        {"mode": "status", "status": 429, "reason": "global-rate"},
        {"mode": "status", "status": 429},
        {"mode": "status", "status": 500},
        {"mode": "hang", "seconds": 5.0},
        {"mode": "cut_before"},
        {"mode": "cut_after"},
        {"mode": "truncate"},
    ]
    with stage.feeding():
        for _ in range(24):
            fault = stage.dice.choice(modes)
            stage.house.fail_next(path="/v*", **fault, times=stage.dice.randint(1, 6))  # type: ignore[arg-type]
            time.sleep(0.25)


def cut_after_accept(stage: Stage) -> None:
    """Cut the connection after Stripe has taken the record, for one call in four."""
    for number in range(stage.files * 5):
        stage.house.fail_next("cut_after", EVENTS, method="POST", after=number * 3)
    stage.feed()


def cut_downloads(stage: Stage) -> None:
    """Cut the first downloads of failed-records files in the middle."""
    stage.house.fail_next("truncate", "/v1/files/*/contents", times=stage.files)
    stage.feed()


def small_run(stage: Stage) -> None:
    """Play the run of `make test`: kill -9 in a submission, lost answers, Redis emptied, all twice and late."""
    stage.house.fail_next("slow", EVENTS, method="POST", times=2, after=10, seconds=5)
    for number in range(6):
        stage.house.fail_next("cut_after", EVENTS, method="POST", after=15 + number * 4)
    with stage.feeding(every=0.2):
        stage.until(stage.submitted, "a submission")
        stage.kill_workers()
        stage.house.redis.restart_empty()
        time.sleep(1)
        stage.house.supervisor.kill(stage.workers()[0])


_NOISY: Final = {
    "duplicates": 5,
    "reorder_seconds": 3.0,
    "report_lag": 1.0,
    "import_lag": 1.0,
    "double_event_chance": 0.3,
}

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "kill-at-random": Scenario("kill -9 of web, workers and clock, 16 times", kill_at_random),
    "crash-points-files": Scenario(
        "kill -9 before and after the commit of each transition; files, one a second, plans in slices of 2 records",
        kill_at_every_crash_point,
        Plan(ledger="postgres", part_records=2, settings={"SUBMIT_PACE_SECONDS": "1"}),
        records=len(CRASH_POINTS) * 2 * 40,
        files=len(CRASH_POINTS) * 2,
        patience=420,
    ),
    "crash-points-api": Scenario(
        "the same; meter events API",
        kill_at_every_crash_point,
        Plan(ledger="postgres", target=API),
        records=len(CRASH_POINTS) * 2 * 40,
        files=len(CRASH_POINTS) * 2,
        patience=240,
    ),
    "crash-and-a-day": Scenario(
        "kill -9 in mid-submission, back when Stripe has forgotten the identifiers",
        kill_and_wait_a_day,
        Plan(target=API),
    ),
    "redis-empty": Scenario("Redis killed 3 times, restarted empty", redis_empty),
    "redis-old-data": Scenario("Redis killed, restarted with old data", redis_old),
    "redis-paused": Scenario("Redis frozen for 8 s", redis_paused),
    "postgres-restarted": Scenario("PostgreSQL crashed twice, for 3 and 8 s", ledger_away, Plan(ledger="postgres")),
    "sqlite-locked": Scenario("SQLite locked from outside twice, for 3 and 8 s", ledger_away),
    "archive-full": Scenario("the archive's disk full for some seconds", archive_full),
    "duplicates-reordered": Scenario(
        "each event 1-5 times, two objects for one change, reordered, late", quiet_feed, Plan(twin=_NOISY)
    ),
    "endpoint-away": Scenario(
        "our endpoint away until Stripe gives up; then `metermend reconcile`",
        endpoint_away,
        Plan(twin={"max_attempts": 2}),
    ),
    "stripe-fails-files": Scenario("Stripe answers 429, 500, hangs, cuts, truncates; files", stripe_fails),
    "stripe-fails-api": Scenario("the same; meter events API", stripe_fails, Plan(target=API)),
    "cut-after-accept": Scenario("connection cut after the record was taken", cut_after_accept, Plan(target=API)),
    "download-cut": Scenario("failed-records downloads cut in the middle", cut_downloads),
    "clocks-differ": Scenario(
        "a worker 10 min ahead of Stripe and one 10 min behind; kill -9 of all, 16 times",
        kill_at_random,
        Plan(ahead={"worker-1": TEN_MINUTES, "worker-2": -TEN_MINUTES}, settings={"LEASE_SECONDS": "60"}),
        patience=2 * TEN_MINUTES + 300,  # the fast clock's lease is waited for, and then perhaps its window
    ),
    "signatures-late": Scenario(
        "Stripe's signatures 10 min off: every delivery refused, taken in by the clock's own reconcile",
        quiet_feed,
        Plan(twin={"signature_skew": -600, "max_attempts": 2}, settings={"RECONCILE_INTERVAL": "3"}),
    ),
    "poison": Scenario(
        "events that cannot be parsed, and one that kills its worker each time",
        poison.play,
        may_fail=poison.POISONOUS,
    ),
    "small": Scenario(
        "the run of `make test`: kill -9, lost answers, Redis empty, duplicates, reordered",
        small_run,
        Plan(target=API, twin={"duplicates": 4, "reorder_seconds": 1.0}, settings={"LEASE_SECONDS": "5"}),
        records=72,
        files=4,
        patience=60,
    ),
    "storm": Scenario(
        "all of it at once, by seeded dice",
        storm.play,
        Plan(ledger="postgres", workers=4, settings={"SWEEP_INTERVAL": "3"}),
        records=20_000,
        files=50,
        patience=3600,
    ),
}
