"""If these fail, usage that was mended by hand while nothing was sent is billed again, or planned usage never goes.

The operator watches first: SUBMIT_TO is not set, repairs are planned and shown. Then he sets it.
"""

from collections.abc import Callable

import pytest

from tests.unit.protocol.bucket import CLEAN
from tests.unit.protocol.company import Refusable
from tests.unit.protocol.invariants import Invariants
from tests.unit.protocol.world import ALIAS_AND_WAIT, API, FILES, World

Act = Callable[[World], object]


def by_report(*kinds: Refusable) -> Act:
    return lambda world: world.company.refuse_usage(kinds, 0)


def by_file(count: int, *, returned: bool = True) -> Act:
    return lambda world: world.company.refuse_file(count, returned=returned)


def all_of(*acts: Act) -> Act:
    return lambda world: [act(world) for act in acts]


def hours(count: float) -> Act:
    return lambda world: world.clock.turn(hours=count)


def take_in(world: World) -> None:
    """Let Stripe import what lies there and deliver what it has published, and workers do all that can be done."""
    for name in world.bucket.waiting():
        world.import_file(name, CLEAN)
    for event_id in world.company.undelivered:
        world.deliver(event_id)
    world.company.undelivered.clear()
    world.work()


def swept(world: World) -> None:
    """Let the clock come round, and workers do what it hints at."""
    world.sweep()
    world.work()


def told_again(world: World) -> None:
    world.deliver(world.stripe.publish_again("evt_0", anew=False))
    world.work()


def event_retried(world: World) -> None:
    world.retry_event("evt_0")
    world.work()


def retried(world: World) -> None:
    for case_id in world.ledger.queries.case_ids():
        world.retry(case_id)
    world.work()


def a_rule_is_written(world: World) -> None:
    world.follow(ALIAS_AND_WAIT)
    swept(world)


def workers_die_over_it(world: World) -> None:
    for steps in (2, 3):
        world.sweep()
        world.work(steps)
        world.clock.turn(minutes=10)
    swept(world)


def observed(world: World, refuse: Act) -> list[str]:
    """Let repairs be planned while there is no target; return what the sender called them."""
    world.submit_to(None)
    refuse(world)
    take_in(world)
    return [name for refused in world.company.expected.values() for names in refused.values() for name in names]


ONE = by_report(Refusable.LED)
FIVE = by_report(*[Refusable.LED, Refusable.TRAILED] * 2, Refusable.LED)
"""So many are planned in slices."""
FILE = by_file(2)
KEPT_FILE = by_file(1, returned=False)
"""A file that Stripe does not give back, and that the sender has."""

LONG_AGO: dict[str, tuple[Act, Act, str, Act]] = {
    "a day later": (ONE, hours(24), API, swept),
    "a day before the usage is too old": (ONE, hours(34 * 24), API, swept),
    "it was looked at meanwhile": (ONE, all_of(hours(5), swept, hours(20)), API, swept),
    "planned in slices": (FIVE, hours(25), API, swept),
    "two cases, of files": (all_of(FILE, KEPT_FILE), hours(25), FILES, swept),
    "planned when its time came": (
        by_report(Refusable.EARLY), all_of(hours(3), swept, hours(24)), API, swept,
    ),
    "the refusal is told again": (ONE, hours(26), API, told_again),
    "somebody takes up its event": (ONE, hours(26), API, event_retried),
    "somebody takes up its case": (FILE, hours(48), API, retried),
    "somebody took it up within the day, too": (ONE, all_of(hours(20), retried, hours(5)), API, retried),
    "a rule was written since": (ONE, hours(30), FILES, a_rule_is_written),
    "workers die while they take it up": (ONE, hours(30), API, workers_die_over_it),
}  # fmt: skip


@pytest.mark.parametrize(("refuse", "wait", "target", "take_up"), LONG_AGO.values(), ids=list(LONG_AGO))
def test_what_was_planned_a_day_ago_is_sent_by_nothing_but_somebodys_word(
    world: World, refuse: Act, wait: Act, target: str, take_up: Act
) -> None:
    """The operator has mended it by hand meanwhile, and Stripe has forgotten that: 10 is billed for 5."""
    records = observed(world, refuse)
    for record in records:
        world.stripe.accept(record, "api_calls")
    wait(world)
    world.submit_to(target)
    take_up(world)
    take_in(world)
    assert world.stripe.billed() == dict.fromkeys(records, 1)
    assert [stand.reason for stand in Invariants(world).stands()] == ["planned_long_ago"] * len(records)


@pytest.mark.parametrize(
    ("refuse", "wait", "target", "by_hand"),
    [(ONE, 1, API, False), (KEPT_FILE, 23.9, FILES, False), (FILE, 23.9, API, True)],
)
def test_what_was_planned_within_the_day_goes_by_itself_and_is_billed_once(
    world: World, refuse: Act, wait: float, target: str, by_hand: bool
) -> None:
    """Nobody would look at its case again; what was mended by hand, Stripe still knows by its identifier."""
    records = observed(world, refuse)
    for record in records if by_hand else ():
        world.stripe.accept(record, "api_calls")
    world.clock.turn(hours=wait)
    world.submit_to(target)
    swept(world)
    take_in(world)
    assert world.stripe.billed() == dict.fromkeys(records, 1)
    Invariants(world).check()
