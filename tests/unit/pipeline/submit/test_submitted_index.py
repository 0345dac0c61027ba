"""If these fail, usage that we have sent is not known again: it is sent by another case, and billed twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import delete, update

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from workers.kernel.erasing import Eraser
from workers.kernel.errors import Permanent
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import EntryKind, Movement
from workers.kernel.ledger.submissions import Submission, Submissions
from workers.kernel.ledger.tables import submission_turns, submissions
from workers.pipeline.context import Context
from workers.pipeline.record_sets import ORIGIN, keep
from workers.pipeline.submit import submitted_index as module
from workers.pipeline.submit.outcomes import held_reasons
from workers.pipeline.submit.submitted_index import SUBMISSION, carried, may_have_carried
from workers.records.schema import IDENTIFIER, REASON

HELD = 4
"""Hashes that are kept: those of two of the submissions."""


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(module, "_MOST_KEPT", HELD)
    return a_context(sqlite_ledger, tmp_path, clock)


def sent(context: Context, number: int, account: str | None = None) -> str:
    """Send two records of a case of its own, `{number}-0` and `{number}-1`."""
    book = Book(context, 2, key=f"failure-{number}", account=account)
    origins = [f"{number}-{record}" for record in range(2)]
    book.frame = book.frame.with_columns(pl.Series(ORIGIN, origins), pl.Series(IDENTIFIER, origins))
    return book.send([0, 1])


def carriers(context: Context, origin: str, account: str | None = None) -> list[str]:
    wanted = pl.Series([origin])
    perhaps = may_have_carried(context, account, ORIGIN, wanted)
    return carried(context, perhaps, ORIGIN, wanted)[SUBMISSION].to_list()


def test_submissions_are_known_however_many_there_are_and_whenever_they_came(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came since the last question, or for which there was no room, is as easily billed twice."""
    monkeypatch.setattr(module, "_PAGE", 2)
    ids = []
    for number in range(5):
        ids.append(sent(context, number))
        found = [carriers(context, f"{number}-1") for number in range(len(ids))]
        assert found == [[submission_id] for submission_id in ids]
    assert carriers(context, "5-0") == []


def test_of_submissions_that_are_known_nothing_is_read_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each plan would cost the more the longer we have been at work."""
    for number in range(2):
        sent(context, number)
    assert carriers(context, "5-0") == []
    monkeypatch.setattr(pl, "scan_parquet", None)
    monkeypatch.setattr(Submissions, "since", None)
    assert carriers(context, "5-0") == []


def test_an_identifier_is_another_accounts_affair(context: Context) -> None:
    """Its usage would never be billed, since somebody else has billed his."""
    theirs, ours = sent(context, 1, "acct_1"), sent(context, 2)
    for _ in range(2):
        assert carriers(context, "1-0", "acct_1") == [theirs]
        assert carriers(context, "1-0") == []
        assert carriers(context, "2-0") == [ours]


def test_accounts_that_are_not_asked_about_make_room_and_are_known_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept for ever, they would leave no room for others, and each of these would be read for every plan."""
    accounts = [None, "acct_1", "acct_2"]
    ids = {account: sent(context, number, account) for number, account in enumerate(accounts)}
    for number, account in enumerate(accounts):
        assert carriers(context, f"{number}-0", account) == [ids[account]]
    with monkeypatch.context() as patched:
        patched.setattr(pl, "scan_parquet", None)
        assert carriers(context, "5-0", "acct_2") == []
    assert carriers(context, "0-0") == [ids[None]]


def test_a_ledger_that_is_restored_while_we_run_is_read_anew(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent in the turns that we take for known would not be, and would go once more."""
    lost, kept = sent(context, 1), sent(context, 2, "acct_1")
    assert (carriers(context, "1-0"), carriers(context, "2-0", "acct_1")) == ([lost], [kept])
    with context.ledger.database.write() as connection:
        connection.execute(delete(submission_turns).where(submission_turns.c.submission_id == lost))
        connection.execute(update(submissions).where(submissions.c.id == lost).values(id="sub_of_before"))
    again = sent(context, 3)
    assert carriers(context, "3-0") == [again]
    assert (carriers(context, "1-0"), carriers(context, "2-0", "acct_1")) == ([], [kept])


def test_the_same_turn_of_another_history_is_another(context: Context) -> None:
    """Ids follow from cases: what was sent again after a restore has the id, and may have the turn, of before."""
    lost, again = sent(context, 1), sent(context, 2)
    assert (carriers(context, "1-0"), carriers(context, "2-0")) == ([lost], [again])
    anew = {submissions.c.intended_at: context.clock() + timedelta(seconds=1)}
    with context.ledger.database.write() as connection:
        connection.execute(delete(submission_turns).where(submission_turns.c.submission_id == lost))
        connection.execute(update(submissions).where(submissions.c.id == again).values(anew))
    assert (carriers(context, "1-0"), carriers(context, "2-0")) == ([], [again])


def test_a_turn_that_is_missing_costs_nothing_but_its_own_submission(context: Context) -> None:
    """Counted instead of read, the turns behind it would be taken for another history, again and again."""
    lost, *ids = (sent(context, number) for number in range(3))
    with context.ledger.database.write() as connection:
        connection.execute(delete(submission_turns).where(submission_turns.c.submission_id == lost))
    for _ in range(2):
        assert [carriers(context, f"{number}-0") for number in range(3)] == [[], [ids[0]], [ids[1]]]


def test_a_submission_whose_records_are_written_anew_is_read_anew(context: Context) -> None:
    """Under the names that a customer's erasure has left him nobody would know them, and they would go again."""
    submission_id = sent(context, 1)
    assert carriers(context, "1-0") == [submission_id]
    case_id = submission_id.rpartition("-")[0]
    before = one(context, submission_id)
    erased = pl.read_parquet(context.archive.fetch(before.ref)).with_columns(pl.lit("erased-1").alias(ORIGIN))
    anew = keep(context, case_id, "erased", erased)
    with context.ledger.cases.hold(case_id, "test", context.lease) as held, held.transaction() as transaction:
        transaction.erase(
            Eraser(("nobody",), {before.record_set: anew.name, before.ref.sha256: anew.sha256}), [], "act"
        )
    assert (carriers(context, "erased-1"), carriers(context, "1-0")) == ([submission_id, submission_id], [])


def test_workers_that_ask_at_the_same_instant_do_not_make_each_other_forget(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one has read would be known as kept, and be kept no more."""
    accounts = [None, "acct_1"]
    ids = [sent(context, number, account) for number, account in enumerate(accounts)]
    both, scan_parquet = threading.Barrier(2), pl.scan_parquet

    def scan_together(*asked: Any) -> pl.LazyFrame:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        return scan_parquet(*asked)

    monkeypatch.setattr(pl, "scan_parquet", scan_together)
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(lambda account: carriers(context, "nobody", account), accounts))
    found = [carriers(context, f"{number}-0", account) for number, account in enumerate(accounts)]
    assert found == [[one] for one in ids]


@pytest.mark.parametrize("days", [0, 1, 35, 36, 37, 38, 100, 399, 1000, 3650])
def test_usage_is_known_again_however_long_ago_it_was_sent(context: Context, clock: FrozenClock, days: int) -> None:
    """A rule that dates old usage anew would have it billed a second time."""
    submission_id = sent(context, 1)
    clock.turn(days=days)
    assert carriers(context, "1-0") == [submission_id]


@pytest.mark.parametrize("small", [0, 20_000])
def test_what_retention_has_removed_keeps_no_plan_from_being_made(
    context: Context, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    """Every case of the account would be stuck once the first record set is gone."""
    monkeypatch.setattr(module, "_SMALL", small)
    gone, kept = sent(context, 1), sent(context, 2)
    case_id = gone.rpartition("-")[0]
    removed = Movement(EntryKind.REMOVED, None, None, 0, Decimal(0))
    with context.ledger.cases.hold(case_id, "test", context.lease) as held, held.transaction() as transaction:
        transaction.move(removed)
    for name in context.archive.names(case_id):
        context.archive.delete(name)
    assert carriers(context, "1-0") == []
    assert carriers(context, "2-0") == [kept]


def test_a_record_set_that_is_lost_stops_the_plan_and_nobody_who_does_not_read_it(context: Context) -> None:
    """Nobody could say any more what was sent: it would be sent again. A report of this week does not ask that."""
    case_id = sent(context, 1).rpartition("-")[0]
    for name in context.archive.names(case_id):
        context.archive.delete(name)
    kept = sent(context, 2)
    perhaps = may_have_carried(context, None, ORIGIN, pl.Series(["2-0"]))
    assert {submission.id for submission in perhaps} == {f"{case_id}-1", kept}
    with pytest.raises(Permanent):
        carriers(context, "2-0")


def one(context: Context, submission_id: str) -> Submission:
    found = context.ledger.submissions.get(submission_id)
    assert found is not None
    return found


def test_an_identifier_that_we_have_sent_is_never_said_to_be_a_strangers(context: Context) -> None:
    """Approved as a stranger's it would be sent under the next identifier, and billed twice."""
    first, other = one(context, sent(context, 1)), one(context, sent(context, 2))
    names = pl.Series(["1-0", "2-0", "3-0"])
    told = held_reasons(context, None, other, names, tried=["2-0"])
    assert dict(told.select(IDENTIFIER, REASON).iter_rows()) == {
        "1-0": "arrival_unknown",
        "2-0": "arrival_unknown",
        "3-0": "identifier_taken",
    }
    assert dict(held_reasons(context, None, first, names).select(IDENTIFIER, REASON).iter_rows()) == {
        "1-0": "identifier_taken",
        "2-0": "arrival_unknown",
        "3-0": "identifier_taken",
    }
