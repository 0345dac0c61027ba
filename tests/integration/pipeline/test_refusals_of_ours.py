"""What Stripe says of what we sent: each record that it refuses comes back, however it is told."""

import pytest

from tests.integration.pipeline.loop import Loop, usage
from tests.integration.pipeline.stripe_says import (
    error_file,
    reasons_of_held,
    refused_again,
    report,
    submissions,
    three_sent,
    verdict,
)
from tests.integration.pipeline.test_attacks_planning import assert_proved
from workers.kernel.files import file_name
from workers.kernel.ledger.journal import Bucket

STAMP = "2026-11-20T10:00:00Z"


def test_unnamed_refusals_beyond_our_submission_are_counted(loop: Loop) -> None:
    """99 records that Stripe refused would stand in no journal: that some are ours is not known."""
    three_sent(loop)
    report(loop, {"meter_event_customer_not_found": (100, ["use-0"])})
    assert loop.balance.failed.records == 3 + 99


def test_samples_of_two_submissions_hold_back_the_rest_of_both(loop: Loop) -> None:
    """The unnamed rest would be confirmed although Stripe may have refused it."""
    for name in ("a", "b"):
        loop.upload(f"{name}.csv", usage(*(f"{name}-{n},{STAMP},api_requests,cus_1,1" for n in (1, 2))))
    report(loop, {"archived_meter": (50, ["a-1", "b-1"])})
    loop.pass_window()
    assert loop.balance.failed.records == 4 + 48
    assert loop.balance[Bucket.QUARANTINED].records == 2 + 48


def test_the_same_report_twice_counts_its_unnamed_once(loop: Loop) -> None:
    """Two event objects for one change would double what the company believes to have lost."""
    three_sent(loop)
    for _ in range(2):
        report(loop, {"archived_meter": (3, ["use-0"])})
    assert loop.balance.failed.records == 3 + 2


def test_a_late_report_takes_back_what_it_does_not_name(loop: Loop) -> None:
    """Two of three refused records would stay confirmed for ever."""
    loop.deny_totals()
    loop.upload("day.csv", usage(*(f"use-{n},{{t}},api_requests, cus_1,1" for n in range(3))))
    loop.lose_customer("cus_1")
    loop.twin.configure(sample_cap=1)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 3
    loop.stripe_works()
    assert loop.balance[Bucket.CONFIRMED].records == 0


def test_a_second_report_of_one_window_adds_what_it_names(loop: Loop) -> None:
    """A record that Stripe names as refused must stand in the journal."""
    three_sent(loop)
    report(loop, {"archived_meter": (1, ["use-0"])})
    report(loop, {"archived_meter": (1, ["use-1"])})
    assert refused_again(loop) == 2


@pytest.mark.parametrize("names", [("s-1", "s-2"), ("gone", "s-1"), ("s-1", "gone")])
def test_a_second_report_of_one_window_adds_the_senders_records_too(loop: Loop, names: tuple[str, str]) -> None:
    """The sender's record would be lost, and its event done; also where no source has one of the two."""
    loop.sources.mkdir()
    rows = (f"s-{n},{{t}},api_requests, cus_1,1" for n in (1, 2))
    (loop.sources / "s.csv").write_text(usage(*rows))
    for name in names:
        report(loop, {"meter_event_customer_not_found": (1, [name])})
    assert loop.balance.failed.records == 2


def test_what_a_second_report_names_was_counted_by_the_first(loop: Loop) -> None:
    """Two events about one change: the company would look for more lost usage than it ever had."""
    loop.sources.mkdir()
    rows = (f"s-{n},{{t}},api_requests, cus_1,1" for n in range(1, 4))
    (loop.sources / "s.csv").write_text(usage(*rows))
    for named in (["s-1", "gone"], ["s-2", "s-3"], ["gone", "s-1"]):
        report(loop, {"meter_event_customer_not_found": (5, named)})
    assert loop.balance.failed.records == 5
    assert loop.balance[Bucket.QUARANTINED].records == 2


def test_every_code_of_a_report_is_heard_before_the_rest_is_set_aside(loop: Loop) -> None:
    """A record that is named would wait as if nobody knew what became of it."""
    three_sent(loop)
    report(loop, {"archived_meter": (2, ["use-0"]), "meter_event_customer_not_found": (1, ["use-1"])})
    assert refused_again(loop) == 2


def test_one_report_on_two_submissions_of_one_case_is_taken_in_for_both(loop: Loop) -> None:
    """The second submission's record would be confirmed."""
    loop.sources.mkdir()
    (loop.sources / "s.csv").write_text(usage("s-1,{t},api_requests, cus_1,1"))
    event = report(loop, {"meter_event_customer_not_found": (2, ["s-1", "s-2"])})
    (loop.sources / "t.csv").write_text(usage("s-2,{t},api_requests, cus_1,1"))
    loop.ledger.events.retry(event)
    loop.work()
    assert len(submissions(loop)) == 2
    report(loop, {"archived_meter": (2, ["s-1~r2", "s-2~r2"])}, hour=1)
    assert refused_again(loop) == 2


def test_another_accounts_report_leaves_our_submission_alone(loop: Loop) -> None:
    """Identifiers are the senders' own, and two accounts may use the same."""
    loop.twin.add_meter("api_requests", account="acct_other")
    three_sent(loop)
    report(loop, {"archived_meter": (1, ["use-0"])}, account="acct_other")
    assert refused_again(loop) == 0


def test_rows_of_our_file_that_are_refused_come_back(loop: Loop) -> None:
    """The event would fail, and the refused record be confirmed by silence."""
    submission = three_sent(loop)
    listed = error_file(
        loop, usage("use-1,x,api_requests,cus_1,1,The time is wrong", header=f"{HEADER},error_message")
    )
    errors = {"row_count": 1, "file": listed}
    verdict(loop, _file(submission.id), id="impset_a", status="succeeded_with_errors", result={"errors": errors})
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 2


HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"


def test_a_row_of_our_file_that_stripe_holds_already_waits_for_a_person(loop: Loop) -> None:
    """It may be billed: planned anew, it would have a reason that a rule or a retry could take for mendable."""
    submission = three_sent(loop)
    told = "use-1,1,api_requests,cus_1,1,An event already exists with identifier use-1"
    listed = error_file(loop, usage(told, header=f"{HEADER},error_message"))
    errors = {"row_count": 1, "file": listed}
    verdict(loop, _file(submission.id), id="impset_a", status="succeeded_with_errors", result={"errors": errors})
    loop.pass_window()
    assert refused_again(loop) == 0
    assert loop.balance[Bucket.CONFIRMED].records == 2
    assert reasons_of_held(loop) == {"identifier_taken": 1}


def test_what_a_second_import_of_our_file_finds_there_already_is_not_sent_under_another_name(loop: Loop) -> None:
    """It is what the first import brought: approved as a stranger's, it would be billed under both identifiers."""
    submission = three_sent(loop)
    told = "use-1,1,api_requests,cus_1,1,An event already exists with identifier use-1"
    errors = {"row_count": 1, "file": error_file(loop, usage(told, header=f"{HEADER},error_message"))}
    verdict(loop, _file(submission.id), id="impset_a", status="succeeded")
    verdict(loop, _file(submission.id), id="impset_b", status="succeeded_with_errors", result={"errors": errors})
    assert reasons_of_held(loop) == {"arrival_unknown": 1}


@pytest.mark.parametrize(
    "listed", ["reason\nbad\n", f"{HEADER},error_message\nelse,1,api_requests,cus_1,1,bad\n", None]
)
def test_a_refusal_of_our_file_that_cannot_be_read_confirms_nothing(loop: Loop, listed: str | None) -> None:
    """Nobody can say which record was refused, so none may count as arrived."""
    submission = three_sent(loop)
    result = {"errors": {"row_count": 1, "file": error_file(loop, listed)}} if listed else {}
    verdict(loop, _file(submission.id), id="impset_a", status="succeeded_with_errors", result=result)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 0
    assert loop.balance[Bucket.QUARANTINED].records == 3


def test_a_verdict_without_an_id_is_heard(loop: Loop) -> None:
    """A refused file would be confirmed because its import set has no id."""
    submission = three_sent(loop)
    verdict(loop, _file(submission.id), status="failed", failed_reason="no")
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 0


def test_a_file_of_ours_in_another_account_is_not_ours(loop: Loop) -> None:
    """Anybody could name a file as we do, and have our records sent twice."""
    submission = three_sent(loop)
    verdict(loop, _file(submission.id), account="acct_other", id="impset_x", status="failed", failed_reason="no")
    assert refused_again(loop) == 0


def test_errors_without_number_or_file_still_open_a_case(loop: Loop) -> None:
    """Stripe says that rows were refused; a case of 0 records would be settled at once."""
    verdict(loop, "theirs.csv", id="impset_b", status="succeeded_with_errors")
    assert loop.balance[Bucket.QUARANTINED].records == 1


def test_a_file_may_have_any_name(loop: Loop) -> None:
    """A blank in a file's name would cost the usage of the whole file."""
    header = "Identifier,Timestamp,Event Name,Customer ID,Value"
    loop.upload("usage march (1).csv", usage("use-1,{t},api_requests,cus_1,10", header=header))
    loop.stripe_works()
    assert loop.billed() == {("api_requests", "cus_1"): "10"}


def _file(submission_id: str) -> str:
    return f"metermend-{submission_id}.csv"


COUNTERS_THAT_FIT = [
    {},
    {"successes": {"row_count": 3}},
    {"rows_processed": 3},
    {"rows_processed": 3, "successes": {"row_count": 3}, "skipped_duplicates": {"row_count": 0}},
    {"skipped_by_filter": {"row_count": 0}},
    {"successes": [], "skipped_duplicates": None},
    {"successes": {"count": "3"}},
]
COUNTERS_THAT_DO_NOT = [
    {"successes": {"row_count": 0}, "skipped_duplicates": {"row_count": 3}},
    {"skipped_duplicates": {"row_count": 3}},
    {"skipped_duplicates": {"row_count": 1}},
    {"successes": {"row_count": 2}, "skipped_duplicates": {"row_count": 1}},
    {"successes": {"row_count": 2}},
    {"successes": {"row_count": 0}},
    {"successes": {"row_count": 4}},
    {"rows_processed": 2},
    {"rows_processed": 0, "successes": {"row_count": 0}},
    {"skipped_by_filter": {"row_count": 1}},
    {"successes": {"row_count": 3}, "skipped_duplicates": {"row_count": 1}},
    {"rows_processed": 4, "successes": {"row_count": 3}},
]


@pytest.mark.parametrize("result", COUNTERS_THAT_FIT)
def test_a_verdict_whose_counters_are_those_of_the_file_confirms_it(loop: Loop, result: dict[str, object]) -> None:
    """Usage that has arrived would wait for a person for ever."""
    submission = three_sent(loop)
    verdict(loop, _file(submission.id), id="impset_a", status="succeeded", result=result)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 3


@pytest.mark.parametrize("result", COUNTERS_THAT_DO_NOT)
def test_what_the_counters_of_our_file_do_not_account_for_is_held(loop: Loop, result: dict[str, object]) -> None:
    """Stripe says itself that it took in less: the word "succeeded" alone would leave usage that nobody bills."""
    submission = three_sent(loop)
    verdict(loop, _file(submission.id), id="impset_a", status="succeeded", result=result)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 0
    assert set(reasons_of_held(loop)) <= {"arrival_unknown", "identifier_taken"}
    assert loop.balance[Bucket.QUARANTINED].records == 3


def test_what_is_short_beside_refused_rows_holds_the_rest_and_takes_the_refused_back(loop: Loop) -> None:
    """One of two rows was skipped, and it cannot be told which: neither may count as arrived."""
    submission = three_sent(loop)
    told = "use-1,1,api_requests,cus_1,1,The row could not be read."
    errors = {"row_count": 1, "file": error_file(loop, usage(told, header=f"{HEADER},error_message"))}
    result = {"errors": errors, "successes": {"row_count": 1}, "skipped_duplicates": {"row_count": 1}}
    verdict(loop, _file(submission.id), id="impset_a", status="succeeded_with_errors", result=result)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 0
    assert reasons_of_held(loop) == {"arrival_unknown": 2}
    assert_proved(loop)


@pytest.mark.parametrize("counter", [{"objects_created": 2}, {"successes": {"row_count": 2}}])
def test_a_file_of_ours_that_was_refused_whole_and_partly_counted_is_not_sent_again(
    loop: Loop, counter: dict[str, object]
) -> None:
    """What Stripe has counted of it would be billed a second time."""
    submission = three_sent(loop)
    verdict(loop, _file(submission.id), id="impset_a", status="failed", failed_reason="broken off", result=counter)
    loop.pass_window()
    assert reasons_of_held(loop) == {"arrival_unknown": 3}
    assert len(loop.ledger.submissions.of_case(submission.case_id)) == 1


def test_a_verdict_told_again_after_the_file_was_imported_twice_holds_nothing(loop: Loop) -> None:
    """The first import brought everything: a person would look for usage that is billed."""
    submission = three_sent(loop)
    first = {"successes": {"row_count": 3}}
    second = {"successes": {"row_count": 0}, "skipped_duplicates": {"row_count": 3}}
    for name, result in (("impset_a", first), ("impset_b", second), ("impset_a", first)):
        verdict(loop, _file(submission.id), id=name, status="succeeded", result=result)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 3


def test_a_file_that_was_counted_twice_is_put_before_a_person(loop: Loop) -> None:
    """It is billed twice, and the journal would say that all is well."""
    submission = three_sent(loop)
    for name in ("impset_a", "impset_b"):
        result = {"successes": {"row_count": 3}}
        verdict(loop, _file(submission.id), id=name, status="succeeded", result=result)
    loop.pass_window()
    assert reasons_of_held(loop) == {"arrival_unknown": 3}


def in_files_of_two(loop: Loop, monkeypatch: pytest.MonkeyPatch, records: int) -> str:
    """Have records sent in files of two each; return the submission's id."""
    monkeypatch.setattr("workers.targets.files.MAX_FILE_RECORDS", 2)
    loop.upload("day.csv", usage(*(f"use-{n},{STAMP},api_requests,cus_1,1" for n in range(records))))
    [case] = loop.cases()
    [submission] = loop.ledger.submissions.of_case(case.id)
    return submission.id


@pytest.mark.parametrize("judged", [(1,), (2,), (3,), (1, 2), (2, 3), (1, 3)])
def test_a_verdict_on_one_file_says_nothing_of_another(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, judged: tuple[int, ...]
) -> None:
    """The connector may never have seen the others: confirmed, their usage is lost."""
    submission_id = in_files_of_two(loop, monkeypatch, 5)
    sizes = {1: 2, 2: 2, 3: 1}
    for number in judged:
        result = {"successes": {"row_count": sizes[number]}}
        name = file_name(submission_id, number)
        verdict(loop, name, id=f"impset_{number}", status="succeeded", result=result)
    loop.pass_window()
    arrived = sum(sizes[number] for number in judged)
    assert loop.balance[Bucket.CONFIRMED].records == arrived
    assert reasons_of_held(loop) == {"arrival_unknown": 5 - arrived}
    assert_proved(loop)


def test_a_file_that_was_refused_whole_leaves_the_others_of_its_submission_alone(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of the other file would be sent again although they are billed."""
    submission_id = in_files_of_two(loop, monkeypatch, 4)
    verdict(loop, file_name(submission_id, 1), id="impset_1", status="failed", failed_reason="no")
    verdict(loop, file_name(submission_id, 2), id="impset_2", status="succeeded")
    loop.pass_window()
    [told] = [e.detail for e in loop.ledger.queries.entries(loop.cases()[0].id) if e.kind == "confirmed"]
    assert loop.balance[Bucket.CONFIRMED].records == 2
    assert told["by"] == "verdict"
    assert told["proof"][file_name(submission_id, 2)]["records"] == 2


def test_without_any_verdict_silence_is_the_proof(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe may tell nothing of clean imports: usage would wait for a person for ever."""
    loop.deny_totals()
    in_files_of_two(loop, monkeypatch, 4)
    loop.pass_window()
    assert loop.balance[Bucket.CONFIRMED].records == 4
