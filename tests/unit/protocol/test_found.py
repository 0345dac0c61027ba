"""Walks on which the machine has found the service wrong, each in the fewest steps."""

from tests.unit.protocol.company import Refusable
from tests.unit.protocol.invariants import Invariants
from tests.unit.protocol.world import FILES, World


def test_what_one_target_has_begun_is_never_sent_by_another(world: World) -> None:
    """The other one cannot know what has arrived: a day later Stripe bills the usage twice."""
    world.company.refuse_usage([Refusable.LED], 0)
    world.deliver("evt_0")
    world.work(calls=1)
    world.clock.turn(hours=25)
    world.submit_to(FILES)
    world.sweep()
    world.work()
    stuck = world.ledger.queries.stuck_cases()
    assert world.bucket.waiting() == []
    assert [str(case.trouble).partition(":")[2] for case in stuck] == [" set SUBMIT_TO back until it has been sent"]
    world.heal()
    Invariants(world).check_at_rest()
