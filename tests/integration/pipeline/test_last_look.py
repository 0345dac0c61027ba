"""Between the intent and the sending there may be an outage: what has changed meanwhile must be seen."""

import os
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import requests

from tests.integration.pipeline.loop import KEY, Loop, submit_by_api_too, usage
from tests.integration.pipeline.test_attacks_planning import (
    HOUR,
    an_hour_that_has_passed,
    assert_proved,
    reasons,
    rfc3339,
)
from workers.kernel.errors import Transient
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.upkeep.retry import retry_case
from workers.sweeper import sweep
from workers.targets.files import FileTarget
from workers.targets.meter_events import MeterEventsTarget

DAY = 24 * HOUR


def turn(loop: Loop, seconds: float) -> None:
    """Let time pass for the company and for Stripe."""
    loop.clock.turn(seconds=seconds)
    loop.twin.clock.advance(seconds)


def approve(loop: Loop) -> None:
    [case] = loop.cases()
    retry_case(replace(loop.context, owner="ada"), case.id, approved_by="ada")
    loop.work()


def send_newer(loop: Loop, at: int, value: str = "140") -> None:
    """Let the sender send a value himself, by the API."""
    event = {
        "event_name": "gauge", "identifier": "newer", "timestamp": at,
        "payload[stripe_customer_id]": "cus_1", "payload[value]": value,
    }  # fmt: skip
    requests.post(
        f"{loop.twin.url}/v1/billing/meter_events", auth=(KEY, ""), data=event, timeout=10
    ).raise_for_status()


@pytest.fixture
def hour(loop: Loop) -> int:
    """The first epoch second of a window of the meter `gauge` that is over."""
    loop.twin.add_meter("gauge", event_time_window="hour")
    return an_hour_that_has_passed()


def refuse(loop: Loop, at: int, value: str = "100") -> None:
    """Let Stripe refuse usage for the form of its time; it is repaired alone."""
    loop.upload("refused.csv", usage(f"a-1,{rfc3339(at)},gauge,cus_1,{value}"))


def stripe_is_away(loop: Loop) -> None:
    loop.twin.fail_next("status", method="POST", path="/v1/billing/meter_events", times=4, status=503)


@pytest.mark.parametrize("target", ["api", "folder and api"])
def test_a_newer_value_that_came_while_stripe_was_away_is_not_overwritten(
    loop: Loop, hour: int, target: str
) -> None:
    """100 would be billed where 140 was meant."""
    submit_by_api_too(loop)
    if target == "api":
        loop.context = replace(loop.context, target=loop.context.api_target)
    stripe_is_away(loop)
    refuse(loop, hour + 60)
    send_newer(loop, hour + 120)
    turn(loop, 20 * 60)
    loop.work()
    loop.stripe_works()
    assert loop.billed() == {("gauge", "cus_1"): "140"}
    assert reasons(loop) == ["arrival_unknown"]
    assert_proved(loop)


def test_a_value_that_stripe_has_already_is_sent_on_after_an_outage(loop: Loop, hour: int) -> None:
    """Its own value in the window would look like another's, and every outage would end with a person."""
    submit_by_api_too(loop)
    loop.twin.fail_next("cut_after", method="POST", path="/v1/billing/meter_events", times=1)
    loop.twin.fail_next("status", method="POST", path="/v1/billing/meter_events", times=3, status=503)
    refuse(loop, hour + 60)
    turn(loop, 20 * 60)
    loop.work()
    loop.pass_window()
    assert loop.billed() == {("gauge", "cus_1"): "100"}
    assert loop.balance[Bucket.CONFIRMED].records == 1


def test_what_was_intended_and_never_tried_goes_back_as_it_was_before_the_plan(loop: Loop, hour: int) -> None:
    """Half-mended, it could never be planned again; called perhaps sent, a person would look for nothing."""
    submit_by_api_too(loop)
    whole = loop.context
    loop.context = replace(whole, api_target=Unreachable(whole.api_target))
    refuse(loop, hour + 60)
    assert loop.balance[Bucket.SUBMITTED].records == 1
    send_newer(loop, hour + 120)
    loop.context = whole
    turn(loop, 20 * 60)
    loop.work()
    assert loop.billed() == {("gauge", "cus_1"): "140"}
    assert reasons(loop) == ["would_overwrite"]
    assert_proved(loop)
    approve(loop)
    loop.pass_window()
    assert loop.billed() == {("gauge", "cus_1"): "100"}
    assert loop.balance[Bucket.CONFIRMED].records == 1
    assert_proved(loop)


class Unreachable:
    """A target that cannot be reached before anything has begun."""

    def __init__(self, target: Any) -> None:
        self.name, self.at_once = target.name, target.at_once

    def lies_there(self, _: str) -> bool:
        return False

    def keep_pace(self) -> None:
        """Let everything go at once."""

    def send(self, *_: Any) -> Any:
        raise Transient("no route to host")


def test_somebodys_word_on_a_window_is_about_the_values_of_its_hour(loop: Loop, hour: int) -> None:
    """He let 100 replace 7; it would replace the 140 that has come since."""
    submit_by_api_too(loop)
    send_newer(loop, hour + 30, "7")
    refuse(loop, hour + 60)
    assert reasons(loop) == ["would_overwrite"]
    whole = loop.context
    loop.context = replace(whole, api_target=Unreachable(whole.api_target))
    approve(loop)
    assert loop.balance[Bucket.SUBMITTED].records == 1
    loop.context = whole
    turn(loop, 2 * HOUR)
    loop.work()
    assert loop.billed() == {("gauge", "cus_1"): "7"}
    assert reasons(loop) == ["would_overwrite"]


def test_by_file_usage_of_a_window_waits_until_it_is_over_and_then_for_a_person(loop: Loop) -> None:
    """In a file it would be read minutes later, after values that the sender has yet to send."""
    loop.twin.add_meter("gauge", event_time_window="day")
    refuse(loop, int(time.time()) // DAY * DAY)
    assert loop.balance[Bucket.DEFERRED].records == 1
    assert [path.name for path in loop.bucket.glob("metermend-*")] == []
    turn(loop, DAY)
    loop.work()
    assert reasons(loop) == ["window_by_file"]
    assert_proved(loop)


def test_by_file_usage_of_a_window_goes_on_somebodys_word(loop: Loop, hour: int) -> None:
    """He who knows that nothing newer comes could not have it billed at all."""
    refuse(loop, hour + 60)
    assert reasons(loop) == ["window_by_file"]
    [case] = loop.cases()
    assert retry_case(loop.context, case.id).kept_back == {"window_by_file": 1}
    approve(loop)
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("gauge", "cus_1"): "100"}
    assert loop.balance[Bucket.CONFIRMED].records == 1
    assert_proved(loop)


def test_a_word_for_the_file_is_no_word_for_the_value(loop: Loop, hour: int) -> None:
    """He was not asked which of two values is right."""
    refuse(loop, hour + 60)
    send_newer(loop, hour + 120)
    approve(loop)
    assert reasons(loop) == ["would_overwrite"]
    assert [path.name for path in loop.bucket.glob("metermend-*")] == []


def test_beside_a_folder_only_windows_go_by_the_api(loop: Loop, hour: int) -> None:
    """A file would be read minutes later; everything by single calls would take hours for large files."""
    submit_by_api_too(loop)
    rows = [f"a-1,{rfc3339(hour + 60)},gauge,cus_1,100", f"a-2,{rfc3339(hour)},api_requests,cus_1,5"]
    loop.upload("refused.csv", usage(*rows))
    [case] = loop.cases()
    sent = loop.ledger.submissions.of_case(case.id)
    assert sorted((one.target, one.event_names) for one in sent) == [
        ("files", ("api_requests",)),
        ("meter-events", ("gauge",)),
    ]
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "5", ("gauge", "cus_1"): "100"}
    assert loop.balance[Bucket.CONFIRMED].records == 2
    assert_proved(loop)


def observe(loop: Loop) -> Any:
    """Have a repair planned while SUBMIT_TO is unset; return the context that could send it."""
    able = loop.context
    loop.context = replace(able, target=None)
    loop.upload("day.csv", b"\xef\xbb\xbf" + usage("i1,{t},api_requests,cus_1,5").encode())
    assert loop.balance[Bucket.PLANNED].records == 1
    return able


def test_what_was_planned_without_a_target_is_sent_once_there_is_one(loop: Loop) -> None:
    """Nobody would look at the case again, and its usage would never be invoiced."""
    loop.context = observe(loop)
    turn(loop, HOUR + 60)
    sweep(loop.context)
    assert [case_id for case_id, *_ in loop.queue.cases] == [case.id for case in loop.cases()]
    loop.work()
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "5"}


@pytest.mark.parametrize("hours", [25, 26, 48, 24 * 20])
def test_what_was_planned_long_ago_is_not_sent_unasked(loop: Loop, hours: int) -> None:
    """The operator has mended it by hand meanwhile: his customer would be billed twice."""
    able = observe(loop)
    loop.upload("fixed.csv", usage("i1,{t},api_requests,cus_1,5"))
    turn(loop, hours * HOUR)
    loop.context = able
    loop.work()
    assert reasons(loop) == ["planned_long_ago"]
    [case] = loop.cases()
    assert retry_case(loop.context, case.id).kept_back == {"planned_long_ago": 1}
    loop.work()
    loop.stripe_works()
    assert loop.billed() == {("api_requests", "cus_1"): "5"}
    assert_proved(loop)


def test_what_was_planned_long_ago_goes_on_somebodys_word(loop: Loop) -> None:
    """He has seen that nobody billed it: it would never be."""
    able = observe(loop)
    turn(loop, 30 * HOUR)
    loop.context = able
    loop.work()
    approve(loop)
    loop.stripe_works()
    loop.pass_window()
    assert loop.billed() == {("api_requests", "cus_1"): "5"}
    assert loop.balance[Bucket.CONFIRMED].records == 1


@pytest.mark.parametrize("begun", [False, True])
def test_what_was_intended_for_a_target_that_was_away_for_a_day_is_not_sent_unasked(
    loop: Loop, begun: bool
) -> None:
    """As if it had been planned that long ago; where it was begun it may even have arrived."""
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    whole = loop.context
    if begun:
        stripe_is_away(loop)
    else:
        loop.context = replace(whole, target=Unreachable(whole.target))
    loop.upload("day.csv", usage(f"i1,{rfc3339(time.time() - HOUR)},api_requests,cus_1,5"))
    assert loop.balance[Bucket.SUBMITTED].records == 1
    loop.context = whole
    turn(loop, DAY + 60)
    loop.work()
    assert loop.billed() == {}
    assert reasons(loop) == ["arrival_unknown" if begun else "planned_long_ago"]
    assert_proved(loop)


def test_a_word_on_what_may_be_billed_is_as_old_as_its_plan(loop: Loop) -> None:
    """Given while SUBMIT_TO was unset, it would be carried out weeks later, when it is not true any more."""
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    able = loop.context
    stripe_is_away(loop)
    loop.upload("day.csv", usage(f"i1,{rfc3339(time.time() - HOUR)},api_requests,cus_1,5"))
    turn(loop, DAY + 60)
    loop.work()
    assert reasons(loop) == ["arrival_unknown"]
    loop.context = replace(able, target=None)
    approve(loop)
    turn(loop, DAY + 60)
    loop.context = able
    loop.work()
    assert reasons(loop) == ["arrival_unknown"]
    assert loop.billed() == {}
    approve(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "5"}


def test_a_file_of_ours_that_is_dated_ahead_does_not_stop_sending(loop: Loop) -> None:
    """A clock that was wrong once would keep every correction from being sent, and nobody would be told."""
    loop.context = replace(
        loop.context, target=FileTarget(f"file://{loop.bucket}", pace_seconds=10, clock=loop.clock)
    )
    ahead = loop.bucket / "metermend-case_0000-1.csv"
    ahead.write_text(usage("z,{t},api_requests,cus_1,0"))
    os.utime(ahead, (time.time() + 30 * DAY,) * 2)
    loop.upload("a.csv", usage(f"i1,{rfc3339(time.time() - HOUR)},api_requests,cus_1,5"))
    loop.stripe_works()
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 1


def test_an_hour_in_the_queue_of_a_folder_is_told_and_shown(loop: Loop) -> None:
    """Corrections would wait for days while everything seems to be well."""
    loop.context = replace(
        loop.context, target=FileTarget(f"file://{loop.bucket}", pace_seconds=900, clock=loop.clock)
    )
    other = loop.bucket / "metermend-case_0000-1.csv"
    for minutes in range(0, 100, 10):
        other.write_text("name,price\napple,2\n")
        os.utime(other, (loop.clock().timestamp(),) * 2)
        if minutes == 0:
            loop.sources.mkdir(exist_ok=True)
            loop.upload("a.csv", usage(f"i1,{rfc3339(time.time() - HOUR)},api_requests,cus_1,5"))
        loop.clock.turn(minutes=10)
        os.utime(other, (loop.clock().timestamp(),) * 2)
        loop.work()
    [case] = loop.cases()
    told = [one.headline for one in loop.alerts.posted if "waited over an hour" in one.headline]
    assert str(case.trouble).startswith("waiting for its turn since")
    assert told == ["a corrected file has waited over an hour for its turn"]
    turn(loop, timedelta(hours=1).total_seconds())
    loop.work()
    assert loop.cases()[0].trouble is None
