"""Ways in which a plan could bill usage twice, overwrite it, or leave it lying."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.books import records_of
from tests.integration.pipeline.loop import Loop, submit_by_api_too, usage
from workers.kernel.errors import Conflict, Permanent, Transient
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.audit.prove import prove
from workers.pipeline.run import carry_on
from workers.pipeline.upkeep.retry import retry_case
from workers.records.schema import REASON
from workers.targets import Outgoing, Progress, Sent

HOUR = 3600
A_DAY_LATER = 26 * HOUR
"""Seconds after which Stripe has forgotten an identifier and would bill it again."""


def rfc3339(seconds: float) -> str:
    """A time as a sender might write it: refused for its form, and repaired alone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def an_hour_ago() -> str:
    return rfc3339(time.time() - HOUR)


class Stripe:
    """Stripe with one answer replaced."""

    def __init__(self, stripe: Any, **answers: Any) -> None:
        self._stripe, self._answers = stripe, answers

    def __getattr__(self, name: str) -> Any:
        return self._answers.get(name) or getattr(self._stripe, name)


def with_stripe(loop: Loop, **answers: Any) -> None:
    loop.context = replace(loop.context, stripe=Stripe(loop.context.stripe, **answers))


def come_round(loop: Loop, rounds: int) -> None:
    """Let the clock come round to the case so many times."""
    for _ in range(rounds):
        loop.clock.turn(minutes=16)
        loop.work()


def large_case(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.pipeline.plan.plan.PART_RECORDS", 2)
    loop.upload("day.csv", usage(*(f"use-{n},{an_hour_ago()},api_requests,cus_1,1" for n in range(5))))


def test_a_large_case_that_can_never_be_planned_is_told_to_a_person_once(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that may not list meters would leave the largest cases lying for ever, and nobody would know."""

    def no_meters(_account: str | None) -> Any:
        raise Permanent("allow the key to read billing meters")

    able = loop.context
    with_stripe(loop, list_meters=no_meters)
    large_case(loop, monkeypatch)
    come_round(loop, 3)
    [stuck] = loop.ledger.queries.stuck_cases()
    assert stuck.trouble == "allow the key to read billing meters"
    assert sum("a case cannot go on" in str(message) for message in loop.alerts.posted) == 1
    loop.context = able
    retry_case(loop.context, stuck.id)
    loop.work()
    loop.stripe_works()
    assert loop.billed() == {("api_requests", "cus_1"): "5"}


@pytest.mark.parametrize("error", [Transient("Stripe does not answer"), ZeroDivisionError()])
def test_a_large_plan_that_fails_again_and_again_ends_where_a_person_sees_it(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A plan that is tried for ever is usage that is never invoiced; a short fault must not end it either."""

    def failing(_account: str | None) -> Any:
        raise error

    settings = loop.context.settings.model_copy(update={"event_attempts": 6})
    loop.context = replace(loop.context, settings=settings)
    with_stripe(loop, list_meters=failing)
    with capture_logs():  # rendering that many tracebacks takes minutes
        large_case(loop, monkeypatch)
        come_round(loop, 3)
        assert loop.ledger.queries.stuck_cases() == []
        come_round(loop, 2)
    assert len(loop.ledger.queries.stuck_cases()) == 1


def test_planning_that_outlasts_its_lease_keeps_the_case(loop: Loop) -> None:
    """Another worker would plan it as well, and after the third time it would be given up though nobody died."""
    free: list[bool] = []
    list_meters = loop.context.stripe.list_meters

    def slow(account: str | None) -> Any:
        time.sleep(1.0)
        for case in loop.cases():
            try:
                with loop.ledger.cases.hold(case.id, "another", loop.context.lease):
                    free.append(True)
            except Conflict:
                free.append(False)
        return list_meters(account)

    settings = loop.context.settings.model_copy(update={"lease_seconds": 0.7})
    loop.context = replace(loop.context, settings=settings)
    with_stripe(loop, list_meters=slow)
    loop.upload("day.csv", usage(f"use-1,{an_hour_ago()},api_requests,cus_1,40"))
    assert free
    assert not any(free)
    assert loop.balance[Bucket.SUBMITTED].records == 1


def test_a_row_that_stands_twice_is_not_billed_twice_by_a_retry(loop: Loop) -> None:
    """A plain retry of the case, a day later, would charge the customer once more for the same usage."""
    row = f"use-1,{an_hour_ago()},api_requests,cus_1,40"
    loop.upload("day.csv", usage(row, row))
    loop.stripe_works()
    loop.pass_window()
    loop.twin.clock.advance(A_DAY_LATER)
    loop.clock.turn(seconds=A_DAY_LATER)
    [case] = loop.cases()
    assert retry_case(loop.context, case.id).kept_back == {"identifier_repeated": 1}
    assert retry_case(loop.context, case.id, approved_by="ada").reopened == 1
    loop.work()
    assert reasons(loop) == ["already_resubmitted"]
    assert loop.billed() == {("api_requests", "cus_1"): "40"}


def reasons(loop: Loop) -> list[str]:
    """Why the records that stand in quarantine are there, by the books of all cases."""
    found = (records_of(loop.context, case.id, Bucket.QUARANTINED) for case in loop.cases())
    return [reason for records in found if records is not None for reason in records.collect()[REASON]]


def usage_of_two_cases(loop: Loop) -> list[str]:
    """Let two files bring the same faulty row, while nothing may be sent; return their cases."""
    row = f"use-1,{an_hour_ago()},api_requests, cus_1 ,40"
    loop.upload("monday.csv", usage(row))
    loop.upload("again.csv", usage(row))
    assert loop.balance[Bucket.PLANNED].records == 2
    return [case.id for case in loop.cases()]


def test_a_plan_made_before_another_case_sent_the_same_usage_is_not_sent(loop: Loop) -> None:
    """Both were planned while SUBMIT_TO was unset; set, it would bill the customer twice."""
    able = loop.context
    loop.context = replace(able, target=None)
    first, second = usage_of_two_cases(loop)
    loop.context = able
    carry_on(loop.context, first)
    loop.stripe_works()
    loop.twin.clock.advance(A_DAY_LATER)
    loop.clock.turn(seconds=A_DAY_LATER)
    carry_on(loop.context, second)
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "40"}
    assert reasons(loop) == ["already_resubmitted"]
    assert_proved(loop)


def assert_proved(loop: Loop) -> None:
    """The books hold: nothing was lost on the way."""
    proofs = list(prove(loop.ledger, loop.context.archive))
    assert [proof for proof in proofs if proof.breach] == []


def test_a_plan_whose_usage_became_too_old_waits_for_a_person_as_it_came(loop: Loop) -> None:
    """Stripe would refuse it and use up its attempts; planned anew from half-mended values it would be stuck."""
    able = loop.context
    loop.context = replace(able, target=None)
    loop.upload("day.csv", usage(f"use-1,{an_hour_ago()},api_requests, cus_1 ,40"))
    [case] = loop.cases()
    loop.clock.turn(days=36)
    loop.context = able
    carry_on(loop.context, case.id)
    assert reasons(loop) == ["timestamp_too_far_in_past"]
    kept = records_of(loop.context, case.id, Bucket.QUARANTINED)
    assert kept is not None
    assert kept.collect()["payload_stripe_customer_id"].to_list() == [" cus_1 "]
    assert kept.collect()["@revision"].to_list() == [0]
    assert_proved(loop)


def test_what_somebody_has_approved_is_sent_although_it_may_be_billed(loop: Loop) -> None:
    """His word would be worth nothing if a guard overruled it for the very reason that he was told of."""
    loop.twin.add_meter("gauge", event_time_window="hour")
    submit_by_api_too(loop)
    able = loop.context
    loop.context = replace(able, target=Unanswered(able.api_target))
    loop.upload("day.csv", usage(f"use-1,{rfc3339(an_hour_that_has_passed())},gauge,cus_1,40"))
    loop.context = able
    loop.stripe_works()
    assert reasons(loop) == ["arrival_unknown"]
    [case] = loop.cases()
    retry_case(loop.context, case.id, approved_by="ada")
    loop.work()
    assert [one.state for one in loop.ledger.submissions.of_case(case.id)] == ["sent", "sent"]
    loop.stripe_works()
    assert loop.billed() == {("gauge", "cus_1"): "40"}


class Unanswered:
    """A target that takes everything but cannot say whether it arrived."""

    name = "unanswered"
    at_once = True

    def __init__(self, target: Any) -> None:
        self._target = target

    def lies_there(self, _: str) -> bool:
        return False

    def keep_pace(self) -> None:
        """Let everything go at once."""

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        self._target.send(outgoing, progress)
        return Sent("unknown", 0, unresolved=("use-1",))


def an_hour_that_has_passed() -> int:
    """The first of its epoch seconds."""
    return int(time.time()) // HOUR * HOUR - 2 * HOUR


def test_two_cases_do_not_overwrite_each_other_in_one_window(loop: Loop) -> None:
    """The meter keeps the last value received: 10 would be billed where 99 was meant, or the other way."""
    loop.twin.add_meter("gauge", event_time_window="hour")
    submit_by_api_too(loop)
    loop.twin.configure(summary_lag=HOUR)
    hour = an_hour_that_has_passed()
    loop.upload("a.csv", usage(f"a-1,{rfc3339(hour + 60)},gauge,cus_1,10"))
    loop.upload("b.csv", usage(f"b-1,{rfc3339(hour + 30)},gauge,cus_1,99"))
    loop.upload("c.csv", usage(f"c-1,{rfc3339(hour - 30)},gauge,cus_1,7"))
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("gauge", "cus_1"): "17"}
    assert reasons(loop) == ["would_overwrite"]
    assert_proved(loop)


def test_plans_for_one_window_made_before_either_was_sent_do_not_overwrite_each_other(loop: Loop) -> None:
    """Both windows were free when they were planned."""
    loop.twin.add_meter("gauge", event_time_window="day")
    submit_by_api_too(loop)
    able = loop.context
    loop.context = replace(able, target=None, api_target=None)
    day = int(time.time()) // 86_400 * 86_400 - 86_400
    loop.upload("a.csv", usage(f"a-1,{rfc3339(day + 60)},gauge,cus_1,10"))
    loop.upload("b.csv", usage(f"b-1,{rfc3339(day + 30)},gauge,cus_1,99"))
    assert loop.balance[Bucket.PLANNED].records == 2
    loop.context = able
    for case in loop.cases():
        carry_on(loop.context, case.id)
    loop.stripe_works()
    assert loop.billed() == {("gauge", "cus_1"): "10"}
    assert reasons(loop) == ["would_overwrite"]
    assert_proved(loop)


def test_a_record_refused_in_its_window_may_be_sent_there_again(loop: Loop) -> None:
    """Its own earlier revision, which Stripe refused, is nothing that could be overwritten."""
    loop.twin.add_meter("gauge", event_time_window="hour")
    submit_by_api_too(loop)
    loop.upload("a.csv", usage(f"a-1,{rfc3339(an_hour_that_has_passed())},gauge,cus_1,10"))
    loop.lose_customer("cus_1")
    loop.stripe_works()
    [case] = loop.cases()
    loop.twin.add_customers(["cus_1"])
    retry_case(loop.context, case.id)
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("gauge", "cus_1"): "10"}


def test_a_window_whose_value_is_zero_is_taken(loop: Loop) -> None:
    """Nothing used is a value too: 99 would be billed in its place."""
    loop.twin.add_meter("gauge", event_time_window="hour")
    submit_by_api_too(loop)
    hour = an_hour_that_has_passed()
    loop.upload("good.csv", usage(f"good-1,{hour + 60},gauge,cus_1,0"))
    loop.upload("bad.csv", usage(f"bad-1,{rfc3339(hour + 30)},gauge,cus_1,99"))
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("gauge", "cus_1"): "0"}
    assert reasons(loop) == ["would_overwrite"]


def test_a_deferred_record_that_had_a_second_fault_is_sent_when_its_time_comes(loop: Loop) -> None:
    """Mended in part and looked at anew, it would show no fault, and stay with a person for ever."""
    loop.upload("day.csv", usage(f"use-1,{rfc3339(time.time() + HOUR)},api_requests, cus_1 ,40"))
    assert loop.balance[Bucket.DEFERRED].records == 1
    loop.clock.turn(minutes=62)
    loop.twin.clock.advance(62 * 60)
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "40"}
    assert loop.balance[Bucket.CONFIRMED].records == 1
    assert_proved(loop)
