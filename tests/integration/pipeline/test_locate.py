"""Every refused record behind a report. If these fail, usage is never invoiced, or some of it is billed again."""

import os
from datetime import timedelta

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.stripe_says import report
from tests.integration.pipeline.test_attacks_planning import assert_proved
from tests.integration.pipeline.test_which_record import NOT_FOUND, advice
from workers.kernel.errors import Transient
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.journal import Bucket, Found
from workers.pipeline.locate.locate import LONGEST_PAUSE
from workers.pipeline.record_sets import scan
from workers.pipeline.upkeep.retry import retry_case
from workers.records.schema import SUGGESTION
from workers.sources import StoredUsageSources

SAMPLES = 2


@pytest.fixture(autouse=True)
def few_samples(loop: Loop) -> None:
    loop.twin.configure(sample_cap=SAMPLES)


def padded(*numbers: int, customer: str = "cus_1") -> list[str]:
    """Rows that name their customer with a blank before it; each is one unit of usage."""
    return [f"use-{n},{{t}},api_requests, {customer},1" for n in numbers]


def sound(*numbers: int) -> list[str]:
    return [f"use-{n},{{t}},api_requests,cus_2,1" for n in numbers]


def counts(loop: Loop) -> tuple[int, int, int]:
    """How many records were refused, are resubmitted or confirmed, and wait for a person."""
    balance = loop.balance
    return (
        balance.failed.records,
        balance[Bucket.SUBMITTED].records + balance[Bucket.CONFIRMED].records,
        balance[Bucket.QUARANTINED].records,
    )


def send_without_a_copy(loop: Loop, *rows: str) -> None:
    """Let the sender upload a file that stands in no place of his that we know."""
    (loop.bucket / "lost.csv").write_text(usage(*rows))
    loop.stripe_works()


def held(loop: Loop) -> str:
    """What records that were found are told to wait for."""
    entries = [entry for case in loop.cases() for entry in loop.ledger.queries.entries(case.id)]
    sets = [scan(loop.context, entry.ref) for entry in entries if entry.kind == "quarantined" and entry.ref]
    return " ".join(text for rows in sets for text in rows.select(SUGGESTION).collect().to_series() if text)


def settle(loop: Loop) -> None:
    """Let Stripe import what was resubmitted, and the confirmation window pass."""
    loop.stripe_works()
    loop.pass_window()


def later(loop: Loop, **by: float) -> None:
    """Let time pass for the company and at Stripe."""
    loop.clock.turn(**by)
    loop.twin.clock.advance(timedelta(**by).total_seconds())


def test_as_many_rows_as_stripe_counts_are_all_resubmitted_and_billed_once(loop: Loop) -> None:
    loop.upload("day.csv", usage(*padded(*range(50)), *sound(*range(50, 80))))
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "50", ("api_requests", "cus_2"): "30"}
    assert [case.state for case in loop.cases()] == [CaseState.SETTLED]
    assert_proved(loop)


def test_codes_are_told_apart_by_what_is_wrong_first(loop: Loop) -> None:
    """A customer is judged before a value: a row with both faults is counted once, under the customer."""
    loop.upload(
        "day.csv",
        usage(
            *padded(*range(5)),
            *(f"both-{n},{{t}},api_requests,cus_gone, 7" for n in range(4)),
            *(f"value-{n},{{t}},api_requests,cus_2, 3" for n in range(6)),
        ),
    )
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "18"}
    assert counts(loop) == (15, 11, 4)
    assert_proved(loop)


def with_several_faults(loop: Loop, samples: list[str]) -> None:
    """Let Stripe count rows with two faults under the value, of which we would expect the customer."""
    loop.sources.mkdir(exist_ok=True)
    both = [f"both-{n},{{t}},api_requests, cus_1, 7" for n in range(2)]
    values = [f"value-{n},{{t}},api_requests,cus_2, 3" for n in range(2)]
    (loop.sources / "day.csv").write_text(usage(*padded(*range(3)), *both, *values))
    report(loop, {NOT_FOUND: (3, []), "meter_event_invalid_value": (4, samples)})
    loop.work()


def test_codes_are_counted_together_where_their_split_is_another_than_ours(loop: Loop) -> None:
    """Nobody knows under which of its faults Stripe counts a row; over all codes the number is the same."""
    with_several_faults(loop, samples=[])
    assert {case.failure.code: case.balance.found for case in loop.cases()} == {
        NOT_FOUND: {Found.EXACT: 3},
        "meter_event_invalid_value": {Found.EXACT: 4},
    }
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "17", ("api_requests", "cus_2"): "6"}
    assert_proved(loop)


def test_the_order_that_a_sample_shows_is_known_from_then_on(loop: Loop) -> None:
    with_several_faults(loop, samples=["both-0"])
    assert f"meter_event_invalid_value before {NOT_FOUND}" in loop.ledger.fault_kinds.trusted(None)
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "17", ("api_requests", "cus_2"): "6"}


def test_a_file_that_is_not_imported_yet_keeps_the_others_waiting_until_it_is(loop: Loop) -> None:
    """Of twice as many rows as are counted nobody can tell which were refused."""
    loop.sources.mkdir(exist_ok=True)
    coming = usage(*padded(*range(10, 20)))
    (loop.sources / "next.csv").write_text(coming)
    loop.upload("day.csv", usage(*padded(*range(10))))
    assert counts(loop) == (10, SAMPLES, 10 - SAMPLES)
    assert "18 rows of your files show this fault, Stripe has counted 8 more" in advice(loop)
    later(loop, seconds=10)
    loop.upload("next.csv", coming)
    later(loop, seconds=LONGEST_PAUSE.total_seconds())
    loop.stripe_works()
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "20"}
    assert_proved(loop)


def test_a_row_is_claimed_once_over_all_cases(loop: Loop) -> None:
    """Files of one day: what the first failure has claimed is not there for the second."""
    loop.upload("morning.csv", usage(*padded(*range(10))))
    later(loop, hours=2)
    loop.upload("noon.csv", usage(*padded(*range(10, 15))))
    settle(loop)
    assert [case.balance.failed.records for case in loop.cases()] == [10, 5]
    assert loop.billed() == {("api_requests", "cus_1"): "15"}


def test_records_without_an_identifier_are_found_though_stripe_names_them_by_its_own(loop: Loop) -> None:
    loop.upload("day.csv", usage(*(f",{{t}},api_requests, cus_1,{n}" for n in range(1, 6))))
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "15"}
    assert_proved(loop)


def test_names_without_a_meter_are_found_too(loop: Loop) -> None:
    loop.upload("day.csv", usage(*(f"use-{n},{{t}},API_requests,cus_1,1" for n in range(9))))
    settle(loop)
    assert counts(loop) == (9, 9, 0)
    assert loop.billed() == {("api_requests", "cus_1"): "9"}


def test_of_fewer_rows_than_are_counted_those_go_that_stripe_can_never_have_accepted(loop: Loop) -> None:
    """Stripe has named rows of their kind under this code. What it counts beyond them stays unexplained."""
    rows = padded(*range(10))
    send_without_a_copy(loop, *rows[:3])
    later(loop, seconds=10)
    loop.upload("day.csv", usage(*rows[3:]))
    later(loop, seconds=LONGEST_PAUSE.total_seconds())
    loop.work()
    assert counts(loop) == (10, 7, 3)
    assert [kind.kind for kind in loop.ledger.fault_kinds.all()] == [f"{NOT_FOUND}: blanks around"]


def test_of_fewer_rows_of_a_kind_that_stripe_has_not_named_none_goes(loop: Loop) -> None:
    send_without_a_copy(loop, *padded(*range(3)))
    later(loop, seconds=10)
    loop.upload("day.csv", usage(*padded(3, 4), *padded(*range(5, 9), customer="cus_gone")))
    later(loop, seconds=LONGEST_PAUSE.total_seconds())
    loop.work()
    failed, gone, waiting = counts(loop)
    assert (failed, gone + waiting) == (9, 9)
    assert gone == 2
    assert "Only" in advice(loop)


def test_what_a_later_file_of_the_sender_has_mended_waits(loop: Loop) -> None:
    """He has sent it himself by now: sent again under another identifier it is billed twice."""
    loop.sources.mkdir(exist_ok=True)
    mended = loop.sources / "mended.csv"
    day = usage(*padded(*range(5)))
    mended.write_text(usage(*(row.replace(" cus_1", "cus_1") for row in day.splitlines()[4:])))
    in_an_hour = (loop.clock() + timedelta(hours=1)).timestamp()
    os.utime(mended, (in_an_hour, in_an_hour))
    loop.upload("day.csv", day)
    assert counts(loop) == (5, 3, 2)
    assert "mended.csv row 1" in held(loop)


def test_a_retry_looks_again_at_once_for_what_is_only_counted(loop: Loop) -> None:
    loop.upload("day.csv", usage(*padded(*range(10))))
    day = loop.sources / "day.csv"
    kept, written = day.read_text(), day.stat().st_mtime
    day.unlink()
    later(loop, seconds=10)
    loop.upload("noon.csv", usage(*padded(*range(10, 15))))
    day.write_text(kept)
    os.utime(day, (written, written))
    [case] = loop.cases()
    retry_case(loop.context, case.id)
    loop.work()
    assert counts(loop) == (15, 15, 0)


def test_a_code_whose_fault_nobody_can_see_keeps_its_count(loop: Loop) -> None:
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "day.csv").write_text(usage(*sound(1, 2, 3)))
    report(loop, {"missing_dimension_payload_keys": (5, ["use-1"])})
    assert counts(loop)[0] == 5
    assert "no file shows this fault" in advice(loop)
    assert [case.trouble for case in loop.cases()] == [None]


def let_totals_settle(loop: Loop) -> None:
    """Let what was sent be confirmed, and Stripe's totals be final; each look waits twice as long as the last."""
    for hours in (2, 5):
        later(loop, hours=hours)
        loop.work()


def put(loop: Loop, name: str, text: str) -> None:
    """Let the sender keep a file and put it into the bucket, before Stripe looks there."""
    for place in (loop.sources, loop.bucket):
        place.mkdir(exist_ok=True)
        (place / name).write_text(text)
        os.utime(place / name, times=(loop.clock().timestamp(),) * 2)


def test_rows_that_stripes_totals_are_without_go_though_more_are_predicted_than_counted(loop: Loop) -> None:
    """A customer that was deleted since makes accepted usage look refused; an hour later the totals tell."""
    put(loop, "day.csv", usage(*padded(*range(10)), *sound(*range(10, 13))))
    loop.twin.poll()
    loop.lose_customer("cus_2")
    loop.stripe_works()
    assert counts(loop) == (10, SAMPLES, 8)
    loop.stripe_works()
    let_totals_settle(loop)
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "10", ("api_requests", "cus_2"): "3"}
    assert loop.balance.found == {Found.NAMED: 2, Found.PROVED: 8}
    assert_proved(loop)


def test_a_file_that_was_never_imported_is_no_proof(loop: Loop) -> None:
    """It shows in no total either: of more rows than are missing none goes."""
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "never.csv").write_text(usage(*padded(*range(10, 13), customer="cus_3")))
    loop.upload("day.csv", usage(*padded(*range(10))))
    loop.stripe_works()
    let_totals_settle(loop)
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "2"}


def stripe_takes(loop: Loop, *numbers: int) -> None:
    """Let Stripe count a unit of the customer's for each of these, whoever sent it."""
    for number in numbers:
        payload = {"stripe_customer_id": "cus_1", "value": "1"}
        an_hour_ago = int(loop.clock().timestamp()) - 3600
        event = {"event_name": "api_requests", "identifier": f"other-{number}", "payload": payload}
        loop.context.stripe.create_meter_event({**event, "timestamp": an_hour_ago}, f"key-{number}", None)


def test_a_kind_of_fault_that_stripes_totals_hold_is_believed_no_longer(loop: Loop) -> None:
    loop.upload("day.csv", usage(*padded(0, 1, 2)))
    assert loop.ledger.fault_kinds.trusted(None)
    loop.stripe_works()
    later(loop, hours=1)
    put(loop, "noon.csv", usage(*padded(*range(3, 9))))
    put(loop, "never.csv", usage(*padded(*range(20, 23))))
    (loop.bucket / "never.csv").unlink()
    stripe_takes(loop, *range(3, 9))
    loop.stripe_works()
    loop.stripe_works()
    let_totals_settle(loop)
    assert loop.ledger.fault_kinds.trusted(None) == frozenset()


def nameless(count: int, customer: str = " cus_1") -> list[str]:
    return [f",{{t}},api_requests,{customer},1"] * count


def test_what_the_sender_has_mended_himself_waits_without_an_identifier_too(loop: Loop) -> None:
    put(loop, "mended.csv", usage(*nameless(3, "cus_1")))
    soon = loop.clock().timestamp() + 20
    os.utime(loop.sources / "mended.csv", (soon, soon))
    loop.upload("day.csv", usage(*nameless(3)))
    settle(loop)
    assert loop.billed() == {("api_requests", "cus_1"): "3"}
    assert "mended.csv row" in held(loop)


def test_a_copy_of_rows_without_an_identifier_is_not_taken_for_what_is_missing(loop: Loop) -> None:
    """As many records were refused in a file that nobody knows of as the copy has rows."""
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "copy.csv").write_text(usage(*nameless(5)))
    put(loop, "day.csv", usage(*padded(0, 1), *nameless(5)))
    (loop.bucket / "lost.csv").write_text(usage(*padded(*range(10, 15), customer="cus_3")))
    loop.stripe_works()
    settle(loop)
    assert loop.billed()[("api_requests", "cus_1")] == "2"


def test_a_window_told_again_by_other_names_counts_no_more_than_it_tells(loop: Loop) -> None:
    loop.sources.mkdir(exist_ok=True)
    (loop.sources / "day.csv").write_text(usage(*nameless(5)))
    report(loop, {NOT_FOUND: (5, ["req_a", "req_b"])})
    assert counts(loop) == (5, 5, 0)
    report(loop, {NOT_FOUND: (5, ["req_c", "req_d"])})
    assert counts(loop) == (5, 5, 0)
    assert_proved(loop)


def test_a_look_that_fails_keeps_back_nothing_that_stripe_names(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_asked: object) -> None:
        raise Transient("the usage files are listed anew in 900 s", retry_after=900)

    with monkeypatch.context() as patched:
        patched.setattr(StoredUsageSources, "candidates", fails)
        loop.upload("day.csv", usage(*padded(*range(10))))
        assert counts(loop) == (10, SAMPLES, 8)
        assert "They could not be looked for" in advice(loop)
    later(loop, minutes=1)
    loop.work()
    assert counts(loop) == (10, 10, 0)
