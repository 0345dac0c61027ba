"""Pre-aggregated meters keep one value a window: what the sender has since measured must not be overwritten."""

from dataclasses import replace

import pytest

from tests.books import records_of
from tests.integration.pipeline.loop import Loop, name_no_sources, submit_by_api_too, usage
from tests.integration.pipeline.test_attacks_planning import (
    HOUR,
    an_hour_that_has_passed,
    assert_proved,
    reasons,
    rfc3339,
)
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.upkeep.retry import retry_case
from workers.records.schema import SUGGESTION
from workers.remedies.rules import parse_rules
from workers.targets import Outgoing, Progress, Sent
from workers.targets.meter_events import MeterEventsTarget


@pytest.fixture
def hour(loop: Loop) -> int:
    """The first epoch second of a window of the meter `gauge`; Stripe's summaries do not show it yet."""
    loop.twin.add_meter("gauge", event_time_window="hour")
    loop.twin.configure(summary_lag=HOUR)
    submit_by_api_too(loop)
    return an_hour_that_has_passed()


def keep(loop: Loop, name: str, *rows: str) -> None:
    """Let the sender write a file that he has not uploaded yet."""
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / name).write_text(usage(*rows))


def refuse(loop: Loop, hour: int, value: str = "99") -> None:
    """Let Stripe refuse a row of half past the hour for the form of its time."""
    loop.upload("refused.csv", usage(f"a-1,{rfc3339(hour + 1800)},gauge,cus_1,{value}"))


def suggestions(loop: Loop) -> list[str]:
    found = (records_of(loop.context, case.id, Bucket.QUARANTINED) for case in loop.cases())
    return [text for records in found if records is not None for text in records.collect()[SUGGESTION]]


def test_a_newer_value_in_the_senders_files_goes_before_a_person_by_name(loop: Loop, hour: int) -> None:
    """Stripe has not counted it yet: 99 would be billed where the sender meant 10."""
    keep(loop, "later.csv", f"x-1,{hour + 1800},gauge,cus_2,5", f"x-2,{hour + 2000},gauge,cus_1,10")
    refuse(loop, hour)
    assert reasons(loop) == ["would_overwrite"]
    assert "row 2 of later.csv" in suggestions(loop)[0]
    assert loop.balance[Bucket.SUBMITTED].records == 0
    assert_proved(loop)


@pytest.mark.parametrize(
    "row",
    [
        "Gauge,cus_1,10",
        " gauge,cus_1,10",
        "GAUGE ,cus_1,10",
        "gauge, cus_1,10",
        '" gauge ","cus_1 ",10',
        "gauge,'cus_1,10",
    ],
)
def test_a_newer_value_is_seen_however_its_meter_and_customer_are_spelt(loop: Loop, hour: int, row: str) -> None:
    """Stripe refuses it today, we mend it tomorrow, and the older one was billed meanwhile."""
    keep(loop, "later.csv", f"x-2,{hour + 2000},{row}")
    refuse(loop, hour)
    assert reasons(loop) == ["would_overwrite"]


@pytest.mark.parametrize("row", [" gauge,cus_1,n/a", "Gauge, cus_1,ten"])
def test_a_newer_value_that_waits_under_another_spelling_is_not_passed_over(
    loop: Loop, hour: int, row: str
) -> None:
    """One file, two values of one hour: the older would go out while the newer waits for a person."""
    loop.upload(
        "refused.csv", usage(f"a-1,{rfc3339(hour + 1800)},gauge,cus_1,99", f"a-2,{rfc3339(hour + 2000)},{row}")
    )
    assert loop.balance[Bucket.SUBMITTED].records == 0


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("x-1,{later},gauge,cus_2,10", id="another customer"),
        pytest.param("x-1,{next},gauge,cus_1,10", id="another window"),
        pytest.param("x-1,{later},api_requests,cus_1,10", id="another meter"),
        pytest.param("x-1,{earlier},gauge,cus_1,10", id="an older value"),
        pytest.param("x-1,{same},gauge,cus_1,99.0", id="the same value"),
        pytest.param("a-1,{text},gauge,cus_1,99", id="a copy of the row"),
        pytest.param("x-1,soon,gauge,cus_1,10", id="no time at all"),
    ],
)
def test_what_is_not_newer_does_not_hold_usage_up(loop: Loop, hour: int, row: str) -> None:
    """Usage that nothing speaks against would not be invoiced until somebody looked."""
    times = {"later": hour + 2000, "next": hour + HOUR, "earlier": hour + 1700, "same": hour + 1800}
    keep(loop, "other.csv", row.format(**times, text=rfc3339(hour + 1800)))
    refuse(loop, hour)
    assert reasons(loop) == []
    assert loop.balance[Bucket.SUBMITTED].records == 1


@pytest.mark.parametrize("identifier", ["a-1", ""])
def test_a_record_is_not_held_up_by_its_own_row(loop: Loop, hour: int, identifier: str) -> None:
    """Nobody but the rule can read its value, which looks like another one than is sent."""
    rules = parse_rules('[[values]]\nmeter = "gauge"\nstrip_units = ["GB"]')
    loop.context = replace(loop.context, rules=rules)
    row = f"{identifier},{rfc3339(hour + 60)},gauge,cus_1,40 GB"
    if identifier:
        keep(loop, "copy.csv", f"x-1,{hour + 60},gauge,cus_2,5", row)
    loop.upload("refused.csv", usage(row))
    assert reasons(loop) == []
    assert loop.balance[Bucket.SUBMITTED].records == 1


@pytest.mark.parametrize("time", ["{same}", "{milliseconds}", "{text}"])
def test_of_two_values_of_one_second_none_is_chosen(loop: Loop, hour: int, time: str) -> None:
    """However the sender wrote the second: nobody can tell which of the values he meant to stand."""
    moment = hour + 1800
    written = time.format(same=moment, milliseconds=moment * 1000, text=rfc3339(moment))
    keep(loop, "other.csv", f"x-1,{written},gauge,cus_1,10")
    refuse(loop, hour)
    assert reasons(loop) == ["would_overwrite"]


def test_the_senders_own_correction_under_the_same_identifier_is_newer(loop: Loop, hour: int) -> None:
    """He mended the row by hand, and otherwise: both values would be sent, and the last to arrive would stand."""
    keep(loop, "mended.csv", f"a-1,{hour + 1800},gauge,cus_1,10")
    refuse(loop, hour)
    assert reasons(loop) == ["would_overwrite"]


def test_a_customer_is_found_under_the_key_of_the_meter(loop: Loop, hour: int) -> None:
    """A meter may keep the customer under a key of its own; its newer value would not be seen."""
    loop.twin.add_meter("level", event_time_window="day", customer_key="user")
    header = "identifier,timestamp,event_name,payload_user,payload_value"
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "later.csv").write_text(usage(f"x-1,{hour + 1},level,cus_1,10", header=header))
    loop.upload("refused.csv", usage(f"a-1,{rfc3339(hour)},level,cus_1,99", header=header))
    assert reasons(loop) == ["would_overwrite"]


def test_a_newer_value_that_was_refused_as_well_is_not_passed_over(loop: Loop, hour: int) -> None:
    """Once a person has mended it, the older value would already be billed, and it would come too late."""
    name_no_sources(loop)
    loop.upload(
        "both.csv",
        usage(f"a-1,{rfc3339(hour + 60)},gauge,cus_1,99", f"a-2,{rfc3339(hour + 90)},gauge,cus_1,about ten"),
    )
    assert "would_overwrite" in reasons(loop)
    assert loop.balance[Bucket.QUARANTINED].records == 2


def test_without_sources_the_guards_are_as_they_were(loop: Loop, hour: int) -> None:
    """Whoever has not named his sources would have every such record held up."""
    keep(loop, "later.csv", f"x-1,{hour + 2000},gauge,cus_1,10")
    name_no_sources(loop)
    refuse(loop, hour)
    assert reasons(loop) == []
    assert loop.balance[Bucket.SUBMITTED].records == 1


def approve(loop: Loop) -> None:
    """Let somebody answer by name for all that waits."""
    for case in loop.cases():
        retry_case(loop.context, case.id, approved_by="ada")
    loop.work()


def test_on_somebodys_word_a_value_is_sent_although_another_is_newer(loop: Loop, hour: int) -> None:
    """The one who has looked and decided would have no way to get the right value billed."""
    keep(loop, "later.csv", f"x-1,{hour + 2000},gauge,cus_1,10")
    refuse(loop, hour)
    approve(loop)
    loop.stripe_works()
    loop.pass_window()
    assert reasons(loop) == []
    assert loop.billed() == {("gauge", "cus_1"): "99"}
    assert_proved(loop)


def test_of_two_values_of_one_window_nobodys_word_sends_both(loop: Loop, hour: int) -> None:
    """Which of them Stripe kept would be left to chance."""
    name_no_sources(loop)
    rows = (f"a-{n},{rfc3339(hour + n)},gauge,cus_1,{n}0" for n in (1, 2))
    loop.upload("refused.csv", usage(*rows))
    approve(loop)
    assert reasons(loop) == ["would_overwrite"] * 2
    assert loop.balance[Bucket.SUBMITTED].records == 0


def test_somebodys_word_holds_until_the_value_is_sent(
    loop: Loop, hour: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused once more and sent later, it might overwrite what nobody had seen when they decided."""
    keep(loop, "later.csv", f"x-1,{hour + 2000},gauge,cus_1,10")
    refuse(loop, hour)
    send = MeterEventsTarget.send

    def send_too_late(target: MeterEventsTarget, outgoing: Outgoing, progress: Progress) -> Sent:
        loop.lose_customer("cus_1")
        return send(target, outgoing, progress)

    with monkeypatch.context() as patched:
        patched.setattr(MeterEventsTarget, "send", send_too_late)
        approve(loop)
    loop.stripe_works()
    assert reasons(loop) == ["meter_event_customer_not_found"]
    loop.twin.add_customers(["cus_1"])
    for case in loop.cases():
        retry_case(loop.context, case.id)
    loop.work()
    assert reasons(loop) == ["would_overwrite"]


def test_a_window_that_was_not_asked_for_is_no_window_that_is_taken(
    loop: Loop, hour: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody would have to answer by name for thousands of values that nothing speaks against, and unguarded."""
    monkeypatch.setattr("workers.pipeline.submit.window_guards.MAX_WINDOWS", 1)
    rows = (f"a-{n},{rfc3339(hour - n * HOUR)},gauge,cus_1,{n}0" for n in (1, 2))
    loop.upload("refused.csv", usage(*rows))
    assert reasons(loop) == ["window_not_asked"]
    [case] = loop.cases()
    retry_case(loop.context, case.id)
    loop.work()
    assert reasons(loop) == []
    assert loop.balance[Bucket.SUBMITTED].records == 2
