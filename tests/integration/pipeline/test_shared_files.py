"""Three cases in one file: if these fail, what Stripe says of the file reaches one of them and no other."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.stripe_says import error_file, reasons_of_held, report, submissions, verdict
from tests.integration.pipeline.test_attacks_planning import assert_proved
from tests.turns import Turns
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.undo.cancel import undo

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"
NAMES = ("a", "b", "c")


@pytest.fixture
def file(loop: Loop) -> str:
    """The name of a file that carries the records 1 and 2 of each of three cases."""
    send_together(loop, NAMES)
    [shared] = ours(loop)
    return shared


def send_together(loop: Loop, names: Sequence[str]) -> None:
    """Let each upload have two rows refused, and all wait until the pace lets go."""
    folder = Turns(f"file://{loop.bucket}", pace_seconds=0, clock=loop.clock)
    loop.context = replace(loop.context, target=folder)
    folder.holds = True
    for name in names:
        day = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() - 7200))
        loop.upload(f"{name}.csv", usage(*(f"{name}-{n},{day},api_requests,cus_1,1" for n in (1, 2))))
    folder.holds = False
    loop.clock.turn(minutes=10)
    loop.work()
    loop.work()


def ours(loop: Loop) -> list[str]:
    return sorted(path.name for path in loop.bucket.glob("metermend-*.csv"))


def case_of(loop: Loop, name: str) -> Case:
    return next(case for case in loop.cases() if f"{name}.csv" in case.failure.summary)


def confirmed(loop: Loop) -> list[int]:
    return [case_of(loop, name).balance[Bucket.CONFIRMED].records for name in NAMES]


def refused(loop: Loop, name: str) -> list[int]:
    """How many records each refusal has taken back into a case."""
    return [e.records for e in loop.ledger.queries.entries(case_of(loop, name).id) if e.kind == "refused"]


def taken_in(rows: int) -> dict[str, Any]:
    """What Stripe says where it counts so many rows as taken in."""
    return {"id": "impset_ours", "status": "succeeded", "result": {"successes": {"row_count": rows}}}


def test_a_verdict_proves_each_case_by_the_file_that_they_share(loop: Loop, file: str) -> None:
    verdict(loop, file, **taken_in(6))
    loop.pass_window()
    assert confirmed(loop) == [2, 2, 2]
    for case in loop.cases():
        [told] = [e.detail for e in loop.ledger.queries.entries(case.id) if e.kind == "confirmed"]
        assert (told["by"], list(told["proof"])) == ("verdict", [file])
    assert_proved(loop)


def test_counters_of_a_part_of_the_file_prove_nothing_of_any_case(loop: Loop, file: str) -> None:
    verdict(loop, file, **taken_in(4))
    loop.pass_window()
    assert confirmed(loop) == [0, 0, 0]
    assert reasons_of_held(loop) == {"arrival_unknown": 6}


def test_rows_that_are_refused_come_back_to_the_cases_that_they_are_of(loop: Loop, file: str) -> None:
    listed = error_file(
        loop,
        usage(
            "a-1,x,api_requests,cus_1,1,no time",
            "c-2,x,api_requests,cus_1,1,no time",
            header=f"{HEADER},error_message",
        ),
    )
    result = {"errors": {"row_count": 2, "file": listed}, "successes": {"row_count": 4}}
    verdict(loop, file, id="impset_ours", status="succeeded_with_errors", result=result)
    assert [refused(loop, name) for name in NAMES] == [[1], [], [1]]
    loop.pass_window()
    assert case_of(loop, "b").balance[Bucket.CONFIRMED].records == 2
    assert_proved(loop)


def test_a_file_that_is_refused_whole_comes_back_to_all_its_cases(loop: Loop, file: str) -> None:
    verdict(loop, file, id="impset_ours", status="failed", failed_reason="no")
    assert [refused(loop, name) for name in NAMES] == [[2], [2], [2]]
    assert loop.balance[Bucket.SUBMITTED].records == 0
    assert_proved(loop)


def test_skipped_duplicates_hold_the_records_of_all_cases(loop: Loop, file: str) -> None:
    result = {"successes": {"row_count": 0}, "duplicates": {"row_count": 6}}
    verdict(loop, file, id="impset_ours", status="succeeded", result=result)
    loop.pass_window()
    assert confirmed(loop) == [0, 0, 0]
    assert sum(reasons_of_held(loop).values()) == 6


def test_a_case_that_is_held_takes_its_part_later_and_the_others_theirs_once(loop: Loop, file: str) -> None:
    with loop.ledger.cases.hold(case_of(loop, "b").id, "another", timedelta(minutes=5)):
        verdict(loop, file, **taken_in(6))
        states = [one.verdict for one in submissions(loop)]
    assert sorted(map(str, states)) == ["None", "succeeded", "succeeded"]
    loop.clock.turn(minutes=1)
    loop.work()
    assert [one.verdict for one in submissions(loop)] == ["succeeded"] * 3
    for case in loop.cases():
        entries = loop.ledger.queries.entries(case.id)
        assert len([e for e in entries if "verdict" in str(e.detail.get("submissions"))]) == 1


def test_a_late_report_reaches_the_right_case_and_what_it_does_not_name_holds_all_of_the_file(
    loop: Loop, file: str
) -> None:
    verdict(loop, file, **taken_in(6))
    loop.pass_window()
    report(loop, {"archived_meter": (2, ["b-1"])})
    assert confirmed(loop) == [0, 0, 0]
    assert reasons_of_held(loop) == {"perhaps_refused": 5}
    report(loop, {"archived_meter": (1, ["c-1"])}, hour=1)
    assert_proved(loop)


def test_one_case_can_be_undone_without_the_others(loop: Loop, file: str) -> None:
    loop.stripe_works()
    [submission] = loop.ledger.submissions.of_case(case_of(loop, "b").id)
    undone = undo(loop.context, submission, approved_by="ada")
    assert undone.cancelled == 2
    loop.pass_window()
    assert confirmed(loop) == [2, 0, 2]
    assert loop.billed() == {("api_requests", "cus_1"): "4"}


def test_a_storm_of_small_cases_needs_few_files_at_the_connectors_pace(loop: Loop) -> None:
    """500 small cases waited 83 minutes for 500 turns; usage that comes after its invoice is lost."""
    names = [f"day-{number}" for number in range(20)]
    send_together(loop, names)
    loop.stripe_works()
    loop.pass_window()
    assert len(ours(loop)) == 1
    assert loop.balance[Bucket.CONFIRMED].records == 40
    assert loop.billed() == {("api_requests", "cus_1"): "40"}
