"""One bad file is reported by many windows. If these fail, it makes a case each, or a refusal is counted twice."""

from itertools import permutations

import pytest

from tests.integration.pipeline.loop import Loop
from tests.integration.pipeline.stripe_says import report
from tests.integration.pipeline.test_attacks_planning import assert_proved
from tests.integration.pipeline.test_which_record import NOT_FOUND, keep
from workers.kernel.ledger.case import CaseState

MINUTE = 1 / 60
NO_CUSTOMER = "meter_event_no_customer_defined"


def counted(loop: Loop) -> list[int]:
    return [case.balance.failed.records for case in loop.cases()]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_windows_of_one_failure_make_one_case_in_whatever_order_they_are_told(
    loop: Loop, order: tuple[int, ...]
) -> None:
    told = [(0, 5, ["a", "b"]), (10 * MINUTE, 7, ["c"]), (20 * MINUTE, 2, ["d", "e"])]
    for number in (*order, *order):
        hour, count, named = told[number]
        report(loop, {NOT_FOUND: (count, named)}, hour=hour)
    assert sum(counted(loop)) == 14
    assert len(loop.cases()) == (2 if order[:2] in {(0, 2), (2, 0)} else 1)
    assert_proved(loop)


def test_a_window_told_anew_with_a_larger_count_adds_the_difference_only(loop: Loop) -> None:
    report(loop, {NOT_FOUND: (5, ["a"])})
    report(loop, {NOT_FOUND: (4, ["b"])}, hour=MINUTE)
    report(loop, {NOT_FOUND: (6, ["b", "c"])}, hour=MINUTE)
    report(loop, {NOT_FOUND: (3, ["a"])})
    assert counted(loop) == [11]


def test_windows_that_lie_far_apart_are_failures_of_their_own(loop: Loop) -> None:
    report(loop, {NOT_FOUND: (5, ["a"])})
    report(loop, {NOT_FOUND: (5, ["b"])}, hour=16 * MINUTE)
    report(loop, {NO_CUSTOMER: (5, ["c"])}, hour=MINUTE)
    assert counted(loop) == [5, 5, 5]


def test_a_window_stays_with_the_case_that_it_was_counted_in(loop: Loop) -> None:
    """The one between them lies near both; afterwards the second lies near the first."""
    report(loop, {NOT_FOUND: (1, ["a"])})
    report(loop, {NOT_FOUND: (2, ["b"])}, hour=20 * MINUTE)
    report(loop, {NOT_FOUND: (4, ["c"])}, hour=10 * MINUTE)
    report(loop, {NOT_FOUND: (2, ["b"])}, hour=20 * MINUTE)
    assert counted(loop) == [5, 2]


def test_what_goes_on_for_hours_is_not_one_case_for_ever(loop: Loop) -> None:
    for number in range(32):
        report(loop, {NOT_FOUND: (1, [f"use-{number}"])}, hour=number * 14 * MINUTE)
    assert counted(loop) == [26, 6]


def test_a_window_that_comes_after_its_case_was_settled_opens_it_again(loop: Loop) -> None:
    keep(loop, "day.csv", "use-1,{t},api_requests, cus_1,1", "use-2,{t},api_requests, cus_2,1")
    report(loop, {NOT_FOUND: (1, ["use-1"])})
    loop.stripe_works()
    loop.pass_window()
    [case] = loop.cases()
    assert case.state is CaseState.SETTLED
    report(loop, {NOT_FOUND: (1, ["use-2"])}, hour=MINUTE)
    [case] = loop.cases()
    assert (case.balance.failed.records, case.state) == (2, CaseState.AWAITING)
    assert str(case.failure.window_start)[:16] < str(case.failure.window_end)[:16]
    loop.stripe_works()
    loop.pass_window()
    assert loop.cases()[0].state is CaseState.SETTLED
    assert_proved(loop)
