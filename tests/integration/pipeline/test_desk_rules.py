"""What a person says by rule. If these fail, a rule bills the wrong customer unseen, or is not followed."""

from dataclasses import replace

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.test_attacks_planning import assert_proved
from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.acts import Act, ActState
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.desk import desk
from workers.sweeper import sweep


@pytest.fixture
def waiting(loop: Loop) -> str:
    """A case whose records name two customers that Stripe does not know, one by an alias of it; its id."""
    loop.upload(
        "day.csv",
        usage(*(f"use-{n},{{t}},api_requests,cus_old,{n}" for n in (1, 2, 3)), "use-4,{t},api_requests,cus_gone,4"),
    )
    [case] = loop.cases()
    assert case.balance[Bucket.QUARANTINED].records == 4
    return case.id


def asked(loop: Loop, rule: str, key: str, value: str) -> Act:
    arguments = {"rule": rule, "key": key, "value": value}
    act, _ = desk.ask(loop.context, "make_rule", None, arguments, actor="Ada", why="they merged")
    return act


def work_as_another_process(loop: Loop) -> None:
    loop.context = replace(loop.context)
    loop.work()


def test_a_rule_shows_what_it_repairs_before_it_holds_and_repairs_that_when_it_does(
    loop: Loop, waiting: str
) -> None:
    act = asked(loop, "customer", "cus_old", "cus_1")
    effect = act.effect or {}
    assert (effect["records"], effect["quantities"], list(effect["cases"])) == (3, {"api_requests": "6"}, [waiting])
    assert effect["examples"][0]["before"] == {"payload_stripe_customer_id": "cus_old"}
    assert effect["examples"][0]["after"] == {"payload_stripe_customer_id": "cus_1"}
    assert loop.context.ledger.rules.in_force() == []
    desk.approve(loop.context, act, "Ada")
    work_as_another_process(loop)
    assert (loop.balance[Bucket.SUBMITTED].records, loop.balance[Bucket.QUARANTINED].records) == (3, 1)
    [reopened] = [e for e in loop.ledger.queries.entries(waiting) if e.detail.get("act") == act.id]
    assert (reopened.actor, reopened.records, reopened.detail["why"]) == ("Ada", 3, "they merged")
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "6"}
    assert_proved(loop)


def test_a_rule_is_followed_by_usage_that_comes_after_it(loop: Loop) -> None:
    """Running processes would go on by the rules that they were started with."""
    desk.approve(loop.context, asked(loop, "customer", "cus_old", "cus_1"), "Ada")
    loop.context = replace(loop.context)
    loop.upload("day.csv", usage("use-1,{t},api_requests,cus_old,1"))
    assert loop.balance[Bucket.SUBMITTED].records == 1


def test_what_a_rule_does_not_help_is_said(loop: Loop, waiting: str) -> None:
    """A rule that leads to a customer whom nobody knows would be thought to have mended it."""
    effect = asked(loop, "customer", "cus_old", "cus_nobody").effect or {}
    assert effect["records"] == 0
    [warning] = effect["warnings"]
    assert "3 more" in warning
    assert "meter_event_customer_not_found" in warning


def test_a_rule_that_is_taken_back_before_its_records_were_sent_lets_them_wait_as_before(
    loop: Loop, waiting: str
) -> None:
    done = desk.approve(loop.context, asked(loop, "customer", "cus_old", "cus_1"), "Ada")
    assert loop.balance[Bucket.PENDING].records == 3
    desk.take_back(loop.context, done, "Grace")
    assert (loop.balance[Bucket.QUARANTINED].records, loop.ledger.rules.in_force()) == (4, [])
    work_as_another_process(loop)
    assert loop.balance[Bucket.QUARANTINED].records == 4
    assert_proved(loop)


def test_a_rule_cannot_be_taken_back_once_usage_was_sent_by_it(loop: Loop, waiting: str) -> None:
    """It would be told to be undone, and be billed all the same."""
    done = desk.approve(loop.context, asked(loop, "customer", "cus_old", "cus_1"), "Ada")
    work_as_another_process(loop)
    with pytest.raises(InputUnusable, match="3 of its records were sent"):
        desk.take_back(loop.context, done, "Grace")
    [rule] = loop.ledger.rules.in_force()
    revert, _ = desk.ask(
        loop.context, "revert_rule", rule.id, {"rule_id": rule.id}, actor="Grace", why="the wrong one"
    )
    reverted = desk.approve(loop.context, revert, "Grace")
    assert loop.ledger.rules.in_force() == []
    desk.take_back(loop.context, reverted, "Ada")
    assert [one.value for one in loop.ledger.rules.in_force()] == ["cus_1"]


def test_the_clock_ends_what_broke_off_after_the_rule_was_made_and_makes_it_once(loop: Loop, waiting: str) -> None:
    act = loop.ledger.acts.approve(asked(loop, "customer", "cus_old", "cus_1"), "Ada", needed=1)
    loop.ledger.rules.make(act, "customer", "cus_old", "cus_1")
    with loop.ledger.cases.hold(waiting, "a worker", loop.context.lease):
        sweep(loop.context)
        assert loop.ledger.acts.get(act.id).state is ActState.APPROVED
    sweep(loop.context)
    sweep(loop.context)
    assert loop.ledger.acts.get(act.id).state is ActState.DONE
    assert (len(loop.ledger.rules.history()), loop.balance[Bucket.PENDING].records) == (1, 3)


def test_the_later_word_holds_and_ends_with_its_revocation(loop: Loop) -> None:
    for target in ("cus_1", "cus_2"):
        desk.approve(loop.context, asked(loop, "customer", "cus_old", target), "Ada")
    first, second = loop.ledger.rules.history()
    assert [one.id for one in loop.ledger.rules.in_force()] == [second.id]
    loop.ledger.rules.revert(second.id, "Ada")
    assert [one.id for one in loop.ledger.rules.in_force()] == [first.id]
    assert replace(loop.context).rules_in_force.digest != loop.context.rules.digest


@pytest.mark.parametrize(
    ("rule", "key", "value", "row"),
    [
        ("meter", "calls", "api_requests", "use-1,{t},calls,cus_1,7,"),
        ("value_key", "api_requests", "units", "use-1,{t},api_requests,cus_1,,7"),
        ("decimal_mark", "api_requests", ".,", 'use-1,{t},api_requests,cus_1,"1,234",'),
    ],
)
def test_each_kind_of_rule_repairs_what_it_is_about(loop: Loop, rule: str, key: str, value: str, row: str) -> None:
    header = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value,payload_units"
    loop.upload("day.csv", usage(row, header=header))
    assert loop.balance[Bucket.QUARANTINED].records == 1
    effect = asked(loop, rule, key, value).effect or {}
    assert effect["quantities"] == {"api_requests": "1234" if rule == "decimal_mark" else "7"}
