"""Taking back an act of many cases. If these fail, half of it is undone, and nobody knows which half."""

from datetime import timedelta

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.desk import desk


@pytest.fixture
def retried(loop: Loop) -> Act:
    """A retry of two cases that is done, and of which nothing was sent yet."""
    loop.upload("day.csv", usage("use-1,{t},api_requests,cus_gone,1"))
    loop.twin.clock.advance(3 * 3600)
    loop.upload("noon.csv", usage("use-2,{t},api_requests,,2"))
    cases = [case.id for case in loop.cases()]
    assert len(cases) == 2
    act, _ = desk.ask(loop.context, "retry", None, {"cases": cases}, actor="Ada", why="mended")
    return desk.approve(loop.context, act, "Ada")


def waiting(loop: Loop) -> int:
    return loop.balance[Bucket.QUARANTINED].records


def test_a_case_that_a_worker_holds_keeps_all_cases_as_they_are(loop: Loop, retried: Act) -> None:
    last = max(case.id for case in loop.cases())
    with loop.ledger.cases.hold(last, "a worker", timedelta(minutes=5)), pytest.raises(Conflict):
        desk.take_back(loop.context, retried, "Grace")
    assert (waiting(loop), loop.ledger.acts.get(retried.id).state) == (0, ActState.DONE)
    desk.take_back(loop.context, retried, "Grace")
    assert waiting(loop) == 2
    assert_proved(loop)


def test_a_page_shows_what_would_wait_again_and_a_worker_takes_it_back_once(loop: Loop, retried: Act) -> None:
    asked = loop.ledger.acts.ask("take_back", None, {"act_id": retried.id}, "Grace", "a slip")
    assert desk.settle(loop.context, asked.id) is None
    shown = loop.ledger.acts.get(asked.id)
    effect = shown.effect or {}
    assert (shown.state, effect["records"], len(effect["examples"])) == (ActState.SHOWN, 2, 2)
    assert effect["examples"][0]["before"] == {"": "retried"}
    approved = loop.ledger.acts.approve(shown, "Grace", needed=1)
    desk.order_of(approved.kind, approved.arguments).carry_out(loop.context, approved)
    assert desk.settle(loop.context, asked.id) is None
    assert (loop.ledger.acts.get(asked.id).state, loop.ledger.acts.get(retried.id).state) == (
        ActState.DONE, ActState.TAKEN_BACK,
    )  # fmt: skip
    assert waiting(loop) == 2
    with pytest.raises(InputUnusable, match="it has taken an act back"):
        desk.take_back(loop.context, loop.ledger.acts.get(asked.id), "Ada")
    assert_proved(loop)
