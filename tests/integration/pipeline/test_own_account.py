"""If these fail, a refusal of what we sent is taken for a stranger's, and what Stripe refused is confirmed."""

from dataclasses import replace
from typing import Any

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from workers.kernel.ledger.journal import Bucket
from workers.stripe_api import LiveStripeApi
from workers.targets.meter_events import MeterEventsTarget

CONTEXTS = [
    "acct_twin",
    "org_1/acct_twin",
    "/org_1/acct_twin/",
    "org_1/acct_platform/acct_twin",
    " org_1 / acct_twin ",
]


@pytest.fixture
def api_loop(loop: Loop) -> Loop:
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    return loop


def name_own_account(loop: Loop, context: str) -> None:
    """Let Stripe name our own account in its thin events."""
    plainly = loop.receive

    def receive(event: dict[str, Any]) -> None:
        plainly({**event, "context": context} if event["object"] == "v2.core.event" else event)

    loop.receive = receive  # type: ignore[method-assign, assignment]


def refuse_after_sending(loop: Loop) -> None:
    """Let Stripe refuse a resubmission of ours: its customer is deleted while it is on its way."""
    loop.context = replace(loop.context, target=None)
    loop.upload("b.csv", usage("i2,{t},api_requests,cus_2,+6"))
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    send = loop.context.target.send  # type: ignore[union-attr]

    class Target(MeterEventsTarget):
        def send(self, *arguments: Any) -> Any:
            loop.lose_customer("cus_2")
            return send(*arguments)

    loop.context = replace(loop.context, target=Target(loop.context.stripe, loop.clock))
    with loop.ledger.cases.hold(loop.cases()[0].id, "test", loop.context.lease) as held, held.transaction() as book:
        book.reschedule(loop.clock())
    loop.work()


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_refusal_of_ours_is_known_as_ours_whatever_way_stripe_names_our_account(
    api_loop: Loop, context: str
) -> None:
    refuse_after_sending(api_loop)
    name_own_account(api_loop, context)
    api_loop.stripe_works()
    api_loop.pass_window()
    assert [case.failure.account for case in api_loop.cases()] == [None]
    assert api_loop.balance[Bucket.CONFIRMED].records == 0
    assert api_loop.balance[Bucket.QUARANTINED].records == 1
    assert_proved(api_loop)


def test_an_event_of_a_connected_account_stays_theirs(loop: Loop) -> None:
    loop.twin.add_meter("api_requests", account="acct_2")
    name_own_account(loop, "org_1/acct_2")
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,+5"))
    assert [case.failure.account for case in loop.cases()] in ([], ["acct_2"])


def test_our_own_account_is_asked_for_once(loop: Loop) -> None:
    calls: list[str] = []
    stripe = loop.context.stripe
    assert isinstance(stripe, LiveStripeApi)
    once = stripe._calls.once

    def counted(method: Any, path: str, *rest: Any) -> Any:
        calls.append(path)
        return once(method, path, *rest)

    stripe._calls.once = counted  # type: ignore[method-assign, assignment]
    assert [stripe.own_account() for _ in range(3)] == ["acct_twin"] * 3
    assert calls == ["/v1/account"]


def test_a_key_that_may_not_read_its_account_works_on(loop: Loop) -> None:
    """The permission is new to those who made their key before: nothing may stop for it."""
    loop.twin.fail_next("status", path="/v1/account", status=403)
    name_own_account(loop, "acct_3")
    assert loop.context.stripe.own_account() is None
    loop.upload("a.csv", usage("i1,{t},api_requests,cus_1,5"))
