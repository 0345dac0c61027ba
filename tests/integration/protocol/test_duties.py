"""The operator's duties against the twin. Each test says what would be lost without it."""

from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.audit.prove import prove
from workers.pipeline.undo.cancel import undo, undoable
from workers.pipeline.undo.reverse import counter_enter
from workers.pipeline.upkeep.reconcile import reconcile

ROWS = ("use-1,{t},api_requests, cus_1,40", "use-2,{t},api_requests,cus_1 ,2")
"""Two rows whose customer has one reading."""


def holds(loop: Loop) -> bool:
    return all(proof.breach is None for proof in prove(loop.ledger, loop.context.archive))


def recovered(loop: Loop) -> str:
    """Let two refused rows be recovered, and return their case."""
    loop.upload("day.csv", usage(*ROWS))
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "42"}
    return loop.cases()[0].id


def test_an_outage_of_ours_loses_no_event(loop: Loop) -> None:
    """Stripe gives up after three days; without the list, what it told meanwhile is never known."""
    (loop.bucket / "day.csv").write_text(usage(*ROWS))
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "day.csv").write_text(usage(*ROWS))
    loop.twin.poll()
    loop.twin.publish()
    looks = list(reconcile(loop.context))
    assert sum(look.recorded for look in looks) > 0
    assert all(look.trouble is None for look in looks)
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "42"}
    assert sum(look.recorded for look in reconcile(loop.context)) == 0
    assert holds(loop)


def test_what_was_billed_by_mistake_is_taken_back(loop: Loop) -> None:
    """Without it a customer pays for usage that the company knows to be wrong."""
    case_id = recovered(loop)
    for one in undoable(loop.context, case_id):
        assert undo(loop.context, one.submission, approved_by="ada").cancelled == one.billed.records
    assert loop.billed().get(("api_requests", "cus_1"), "0") == "0"
    assert loop.balance[Bucket.QUARANTINED].records == 2
    assert holds(loop)


def test_older_usage_is_countered_and_the_counter_entry_is_confirmed(loop: Loop) -> None:
    """After a day Stripe cancels nothing any more."""
    case_id = recovered(loop)
    for one in undoable(loop.context, case_id):
        counter_enter(loop.context, one.submission, approved_by="ada")
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed().get(("api_requests", "cus_1"), "0") == "0"
    assert loop.balance[Bucket.CONFIRMED].records == 2
    assert loop.balance[Bucket.CONFIRMED].quantity == -42
    assert holds(loop)
