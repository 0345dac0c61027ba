"""Validation reports that are not as documented: if these fail, refused usage is counted nowhere."""

from typing import Any

import pytest

from tests.integration.pipeline.loop import Loop
from tests.integration.pipeline.stripe_says import report
from tests.integration.pipeline.test_which_record import NOT_FOUND, advice, keep, waiting
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.events import EventState
from workers.pipeline.audit.prove import prove

FIRST_OF_ALL, LAST_OF_ALL = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


def reason(total: Any, *error_types: Any) -> dict[str, Any]:
    return {"error_count": total, "error_types": list(error_types)}


def one_code(count: Any, *names: str | None) -> dict[str, Any]:
    samples = [{"error_message": "no", "request": {"identifier": name}} for name in names]
    return {"code": NOT_FOUND, "error_count": count, "sample_errors": samples}


@pytest.mark.parametrize(
    ("said", "refused", "oddity"),
    [
        (reason(50, one_code(2, "a", "b")), 50, "the report counts 50 records, its codes 2"),
        (reason(None, one_code(None, None, None)), 2, f"{NOT_FOUND} has no error_count"),
        (reason(None, one_code(None)), 1, f"{NOT_FOUND} has no error_count"),
        (reason(2, None), 2, "error_types[0] has no code"),
        (reason(3, one_code(None, "a", None)), 3, "has a sample without an identifier"),
        (reason(2), 2, "the event names no code"),
        ({"error_count": 2, "error_types": {}}, 2, "error_types is an object, not a list"),
    ],
)
def test_all_that_a_report_tells_in_any_place_stands_in_the_book(
    loop: Loop, said: dict[str, Any], refused: int, oddity: str
) -> None:
    report(loop, {}, reason=said)
    assert loop.balance.failed.records == refused
    assert waiting(loop)["not_sampled"] == refused - waiting(loop).get("not_in_sources", 0)
    assert oddity in advice(loop)
    assert not [proof.breach for proof in prove(loop.ledger, loop.context.archive) if proof.breach]


def test_what_was_odd_in_a_report_is_told_also_where_every_record_was_found(loop: Loop) -> None:
    keep(loop, "day.csv", "a,{t},api_requests, cus_1,5")
    report(loop, {}, reason=reason(None, one_code(None, "a")))
    entries = [entry for case in loop.cases() for entry in loop.ledger.queries.entries(case.id)]
    assert [entry.detail["oddities"] for entry in entries if entry.kind == "seen"] == [
        [f"{NOT_FOUND} has no error_count"]
    ]


def test_a_report_that_is_told_twice_counts_its_surplus_once(loop: Loop) -> None:
    for _ in range(2):
        report(loop, {}, reason=reason(50, one_code(2, "a", "b")))
    assert loop.balance.failed.records == 50


@pytest.mark.parametrize("odd", [{"validation_start": FIRST_OF_ALL}, {"validation_end": LAST_OF_ALL}])
@pytest.mark.parametrize("code", [NOT_FOUND, "timestamp_too_far_in_past", "timestamp_in_future"])
def test_a_window_at_the_end_of_all_times_is_taken_in_at_once(loop: Loop, odd: dict[str, Any], code: str) -> None:
    """It would be retried six times and given up, and its refusals would stand nowhere."""
    event_id = report(loop, {code: (2, ["a", "b"])}, **odd)
    event = loop.ledger.events.get(event_id)
    assert event is not None
    assert (event.state, event.attempts) == (EventState.DONE, 1)
    assert [(case.state, case.balance.failed.records) for case in loop.cases()] == [(CaseState.NEEDS_PERSON, 2)]
