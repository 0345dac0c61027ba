"""All faults at once, drawn by seeded dice while a large usage comes in."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from bench.faults.stage import Stage

SPREAD_SECONDS: Final = 0.05


def play(stage: Stage) -> None:
    """Feed, and let something go wrong every few seconds until everything is sent."""
    stage.house.control("settings", {"duplicates": 5, "reorder_seconds": 5.0, "double_event_chance": 0.2})
    stage.house.redis.remember()
    with stage.feeding(every=SPREAD_SECONDS):
        while stage.sender.files < stage.files:
            _strike(stage)
    for _ in range(max(20, stage.files // 2)):
        _strike(stage)
    stage.house.fail_no_more()  # where all is sent before the last strike, nobody would use them up
    stage.house.control("settings", {"duplicates": 1, "reorder_seconds": 0.0, "double_event_chance": 0.0})


def _strike(stage: Stage) -> None:
    STRIKES[stage.dice.choice(sorted(STRIKES))](stage)
    time.sleep(stage.dice.uniform(0.5, 3))


def _freeze_redis(stage: Stage) -> None:
    stage.house.supervisor.freeze("redis")
    time.sleep(stage.dice.uniform(1, 4))
    stage.house.supervisor.thaw("redis")


def _fail(mode: str, path: str, times: int, **fields: float) -> Callable[[Stage], None]:
    return lambda stage: stage.house.fail_next(mode, path, times=times, **fields)


STRIKES: Final[Mapping[str, Callable[[Stage], None]]] = {
    "kill a worker": lambda stage: stage.house.supervisor.kill(stage.dice.choice(stage.workers())),
    "kill every worker": lambda stage: stage.kill_workers(),
    "kill the web": lambda stage: stage.house.supervisor.kill("web"),
    "kill the clock": lambda stage: stage.house.supervisor.kill("clock"),
    "empty Redis": lambda stage: stage.house.redis.restart_empty(),
    "Redis as at the start": lambda stage: stage.house.redis.restart_with_old_data(),
    "freeze Redis": _freeze_redis,
    "ledger away": lambda stage: stage.house.database.break_for(stage.dice.uniform(0.5, 4)),
    "Stripe 429": _fail("status", "/v*", 10, status=429),
    "Stripe 500": _fail("status", "/v*", 10, status=500),
    "Stripe hangs": _fail("hang", "/v*", 2, seconds=5),
    "Stripe cuts": _fail("cut_after", "/v*", 5),
    "downloads cut": _fail("truncate", "/v1/files/*/contents", 3),
}
