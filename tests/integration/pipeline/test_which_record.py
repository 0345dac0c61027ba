"""Which record did Stripe refuse? If these fail, usage that was billed is billed again, or refused usage lost."""

import os
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.books import records_of
from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.stripe_says import SOON, error_file, report, three_sent, verdict
from tests.integration.pipeline.test_attacks_planning import an_hour_that_has_passed, rfc3339
from workers.kernel.ledger.case import CaseState
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.audit.prove import prove
from workers.pipeline.upkeep.retry import retry_case
from workers.records.schema import SUGGESTION
from workers.sources import StoredUsageSources
from workers.targets.meter_events import MeterEventsTarget

NOT_FOUND = "meter_event_customer_not_found"
HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"
BOM = b"\xef\xbb\xbf"


def keep(loop: Loop, name: str, *rows: str, age: timedelta = timedelta(0)) -> None:
    """Let the sender have a file of his own that he wrote so long before the first window of the reports."""
    loop.sources.mkdir(exist_ok=True)
    path = loop.sources / name
    path.write_text(usage(*rows))
    written = (min(SOON, loop.clock()) if not age else SOON - age).timestamp()
    os.utime(path, (written, written))


def waiting(loop: Loop) -> dict[str, int]:
    """Why records wait for a person, over all cases."""
    reasons: dict[str, int] = {}
    for case in loop.cases():
        for entry in loop.ledger.queries.entries(case.id):
            if entry.kind == "quarantined":
                reasons = {**reasons, **entry.detail["reasons"]}
    return reasons


def advice(loop: Loop) -> str:
    entries = [entry for case in loop.cases() for entry in loop.ledger.queries.entries(case.id)]
    return " ".join(str(entry.detail.get("suggestions", "")) for entry in entries)


def in_flight(loop: Loop) -> int:
    return sum(
        case.balance[bucket].records for case in loop.cases() for bucket in (Bucket.SUBMITTED, Bucket.CONFIRMED)
    )


def test_a_row_of_another_meter_is_shown_and_not_sent(loop: Loop) -> None:
    keep(loop, "tokens.csv", "run-1,{t},tokens_used, cus_1,5000")
    report(loop, {NOT_FOUND: (1, ["run-1"])})
    assert waiting(loop) == {"not_in_sources": 1}
    assert "tokens.csv row 1 (tokens_used) has run-1: the report is of api_requests" in advice(loop)
    assert in_flight(loop) == 0


def test_a_row_of_last_weeks_file_is_shown_and_not_sent(loop: Loop) -> None:
    keep(loop, "daily.csv", "17,{t},api_requests, cus_1,1700", age=timedelta(days=7))
    report(loop, {NOT_FOUND: (1, ["17"])})
    assert waiting(loop) == {"not_in_sources": 1}
    assert "daily.csv row 1" in advice(loop)


def test_the_one_row_of_several_that_can_be_meant_is_sent(loop: Loop) -> None:
    """Senders count anew every day, and last week's record 17 has nothing to do with today's."""
    last_week = str(int(time.time()) - 7 * 86_400)
    keep(loop, "old.csv", f"17,{last_week},api_requests, cus_1,1700", age=timedelta(days=7))
    keep(loop, "tokens.csv", "17,{t},tokens_used, cus_1,5000")
    keep(loop, "new.csv", "17,{t},api_requests, cus_1,3")
    report(loop, {NOT_FOUND: (1, ["17"])})
    loop.stripe_works()
    assert loop.billed() == {("api_requests", "cus_1"): "3"}


@pytest.mark.parametrize("age", [timedelta(days=2), timedelta(days=20)])
def test_a_billed_file_that_is_uploaded_again_and_refused_whole_waits(loop: Loop, age: timedelta) -> None:
    text = usage("i1,{t},api_requests,cus_1,5", ",{t},api_requests,cus_2,7")
    loop.upload("a.csv", text)
    loop.clock.turn(days=age.days)
    loop.twin.clock.advance(age.total_seconds())
    for path in loop.bucket.iterdir():
        path.unlink()
    loop.upload("again.csv", BOM + text.encode())
    loop.stripe_works()
    assert waiting(loop) == {"in_older_file": 2}
    assert loop.billed() == {("api_requests", "cus_1"): "5", ("api_requests", "cus_2"): "7"}


def test_a_refused_row_that_stands_in_an_older_file_too_waits(loop: Loop) -> None:
    rows = ("i1,{t},api_requests,cus_1,5",)
    keep(loop, "a.csv", *rows, age=timedelta(days=2))
    keep(loop, "again.csv", *rows)
    report(loop, {NOT_FOUND: (1, ["i1"])})
    assert waiting(loop) == {"in_older_file": 1}
    for case in loop.cases():
        retry_case(loop.context, case.id)
    loop.work()
    assert in_flight(loop) == 0


@pytest.mark.parametrize("counter", ["objects_created", "successes", "skipped_duplicates"])
def test_a_file_that_failed_after_it_was_taken_in_in_part_is_not_sent_whole(loop: Loop, counter: str) -> None:
    loop.sources.mkdir()
    (loop.sources / "a.csv").write_bytes(
        BOM + usage("a,{t},api_requests,cus_1,5", "b,{t},api_requests,cus_1,6").encode()
    )
    result = {counter: 1 if counter == "objects_created" else {"row_count": 1}}
    verdict(loop, "a.csv", id="impset_f", status="failed", failed_reason="An internal error.", result=result)
    assert waiting(loop) == {"perhaps_imported": 2}
    [case] = loop.cases()
    assert retry_case(loop.context, case.id).kept_back == {"perhaps_imported": 2}
    retry_case(loop.context, case.id, approved_by="ann")
    loop.work()
    assert in_flight(loop) == 2


@pytest.mark.parametrize("value", ["5", "+5"])
def test_a_row_that_stripe_holds_already_is_not_repaired(loop: Loop, value: str) -> None:
    told = f"i1,x,api_requests,cus_1,{value},An event already exists with identifier i1."
    errors = {"row_count": 1, "file": error_file(loop, usage(told, header=f"{HEADER},error_message"))}
    verdict(loop, "b.csv", id="impset_b", status="succeeded_with_errors", result={"errors": errors})
    assert waiting(loop) == {"event_already_exists": 1}
    [case] = loop.cases()
    assert retry_case(loop.context, case.id).reopened == 0


def test_rows_that_tell_one_record_for_each_of_its_errors_are_sent_once(loop: Loop) -> None:
    rows = (
        "4,2026-11-20T10:00:00Z,api_requests,cus_1, 12 ,time",
        "4,2026-11-20T10:00:00Z,api_requests,cus_1, 12 ,value",
    )
    other = "9,2026-11-20T10:00:00Z,api_requests,cus_2,3,time"
    header = "row,timestamp,event_name,payload_stripe_customer_id,payload_value,error_message"
    errors = {"row_count": 2, "file": error_file(loop, usage(*rows, other, header=header))}
    verdict(loop, "evening.csv", id="impset_b", status="succeeded_with_errors", result={"errors": errors})
    loop.stripe_works()
    assert loop.billed() == {("api_requests", "cus_1"): "12", ("api_requests", "cus_2"): "3"}
    assert loop.balance.failed.records == 2


def test_a_file_that_was_written_over_since_is_not_taken_for_the_refused_one(loop: Loop) -> None:
    """Monday's case would be settled with Tuesday's rows, and Monday's usage be lost."""
    loop.sources.mkdir()
    (loop.sources / "usage.csv").write_bytes(BOM + usage("tue,{t},api_requests,cus_2,7").encode())
    verdict(loop, "usage.csv", id="mon", status="failed", failed_reason="BOM", created=int(time.time()) - 86_400)
    assert waiting(loop) == {"file_not_found": 1}
    assert "was written at" in advice(loop)
    verdict(loop, "usage.csv", id="tue", status="failed", failed_reason="BOM", created=int(time.time()))
    assert in_flight(loop) == 1


def test_a_file_with_other_rows_than_stripe_read_is_not_taken_for_the_refused_one(loop: Loop) -> None:
    loop.sources.mkdir()
    (loop.sources / "usage.csv").write_bytes(BOM + usage("tue,{t},api_requests,cus_2,7").encode())
    verdict(loop, "usage.csv", id="mon", status="failed", failed_reason="BOM", result={"rows_processed": 40})
    assert waiting(loop) == {"file_not_found": 40}
    assert in_flight(loop) == 0


@pytest.mark.parametrize("named", [["use-0"], ["use-0", "s-1"], ["s-1"]])
def test_a_refusal_of_the_senders_that_stripe_does_not_name_is_counted_beside_ours(
    loop: Loop, named: list[str]
) -> None:
    """What we set aside may be another record, and the sender's refusal would stand in no journal."""
    three_sent(loop)
    keep(loop, "s.csv", "s-1,{t},api_requests, cus_1,1")
    report(loop, {NOT_FOUND: (len(named) + 1, named)})
    theirs = sum(case.balance.failed.records for case in loop.cases() if case.failure.code == NOT_FOUND)
    assert theirs >= len([name for name in named if name.startswith("s-")]) + 1


def test_another_accounts_report_claims_nothing_of_our_files(loop: Loop) -> None:
    """One account's customer would pay for another's usage."""
    loop.context = replace(loop.context, target=MeterEventsTarget(loop.context.stripe, loop.clock))
    loop.twin.add_meter("api_requests", account="acct_other")
    loop.twin.add_customers(["cus_1"], account="acct_other")
    keep(loop, "ours.csv", "i1,{t},api_requests, cus_1,777")
    report(loop, {NOT_FOUND: (1, ["i1"])}, account="acct_other")
    assert waiting(loop) == {"not_in_sources": 1}
    assert "acct_other=place" in advice(loop)
    theirs = StoredUsageSources([str(loop.sources)], loop.context.scratch / "theirs")
    loop.context = replace(loop.context, account_sources={"acct_other": theirs})
    report(loop, {NOT_FOUND: (1, ["i1"])}, account="acct_other", hour=1)
    assert [line["total"] for line in loop.twin.billed("acct_other")] == ["777"]


def test_a_folder_bills_nobody_but_its_account(loop: Loop) -> None:
    assert loop.context.target_of("acct_other") is None
    api = MeterEventsTarget(loop.context.stripe, loop.clock)
    assert replace(loop.context, target=api).target_of("acct_other") is api
    assert replace(loop.context, account_targets={"acct_other": api}).target_of("acct_other") is api


WORLDS = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 3))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=WORLDS)
def test_all_that_stripe_counts_stands_in_some_book(loop: Loop, world: tuple[int, int, int, int]) -> None:
    """Of ours and of the sender's some are named, some not: none is counted nowhere, and each journal holds."""
    ours_named, theirs_found, theirs_missing, unnamed = world
    if not loop.cases():
        three_sent(loop)
    tag = f"w{time.monotonic_ns()}"
    before = {case.id: case.balance.failed.records for case in loop.cases()}
    found = [f"{tag}-{n}" for n in range(theirs_found)]
    keep(loop, f"{tag}.csv", *(f"{name},{{t}},api_requests,cus_gone,1" for name in found))
    named = [f"use-{n}" for n in range(ours_named)] + found + [f"{tag}-x{n}" for n in range(theirs_missing)]
    if named:
        report(loop, {NOT_FOUND: (len(named) + unnamed, named)}, hour=len(before))
        new = [case for case in loop.cases() if case.id not in before]
        assert sum(case.balance.failed.records for case in new) == theirs_found + theirs_missing + unnamed
    assert not [proof.breach for proof in prove(loop.ledger, loop.context.archive) if proof.breach]


@pytest.mark.parametrize("when", ["as text", "as Stripe wants it"])
def test_a_row_that_waits_says_what_to_do_however_it_was_refused(loop: Loop, when: str) -> None:
    """Whoever is on call at night would see a reason and no way out."""
    moment = an_hour_that_has_passed()
    written = rfc3339(moment) if when == "as text" else str(moment)
    loop.upload("a.csv", usage(f'i1,{written},api_requests,cus_1,"1,234"'))
    waiting = records_of(loop.context, loop.cases()[0].id, Bucket.QUARANTINED)
    assert waiting is not None
    assert waiting.collect()[SUGGESTION].to_list() == ["1,234 could be 1234 or 1.234"]


def refused_by_number(loop: Loop, number: str) -> set[str]:
    """Let Stripe list row 3 of a file of four by that text, without the record; return the identifiers taken in."""
    keep(loop, "day.csv", *(f"use-{n},2026-11-20T10:00:00Z,api_requests,cus_1,1" for n in range(1, 5)))
    errors = {"row_count": 1, "file": error_file(loop, f"row,error_message\n{number},timestamp is malformed\n")}
    verdict(loop, "day.csv", status="succeeded_with_errors", result={"rows_processed": 4, "errors": errors})
    sets = [records_of(loop.context, case.id, bucket) for case in loop.cases() for bucket in Bucket]
    return {name for records in sets if records is not None for name in records.collect()["identifier"].to_list()}


@pytest.mark.parametrize("number", ["3", "3.0", "row #3"])
def test_a_refused_row_is_found_however_its_number_is_written(loop: Loop, number: str) -> None:
    """Row 1, which Stripe has counted, would be billed twice in its place."""
    assert refused_by_number(loop, number) == {"use-3"}


@pytest.mark.parametrize("number", ["three", "3-4"])
def test_a_list_of_refused_rows_whose_numbers_cannot_be_read_waits(loop: Loop, number: str) -> None:
    assert refused_by_number(loop, number) == set()
    assert [(case.state, case.balance.failed.records) for case in loop.cases()] == [(CaseState.NEEDS_PERSON, 1)]
