"""If these fail, a storm of small cases takes hours at the connector's pace, or a record goes out in two files."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.books import LEASE, Book
from tests.conftest import FrozenClock
from tests.unit.pipeline.submit.queue import Queue
from workers.kernel.errors import Conflict, InputUnusable
from workers.kernel.files import file_name
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.shared_files import Share, SharedFiles
from workers.kernel.ledger.submissions import SubmissionState
from workers.pipeline.submit import shared_file
from workers.pipeline.undo.cancel import submissions_of


@pytest.fixture
def queue(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Queue:
    return Queue(sqlite_ledger, tmp_path, clock)


def rows(*names: str) -> list[str]:
    return sorted(f"{name}-u{number}" for name in names for number in range(2))


def in_folder(queue: Queue) -> list[str]:
    return sorted(identifier for names in queue.files().values() for identifier in names)


def test_what_waits_goes_in_one_file_and_each_case_learns_of_it(
    ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    queue = Queue(ledger, tmp_path, clock)
    books = [queue.waiting(name) for name in ("a", "b", "c")]
    queue.target.holds = True
    queue.work(*books)
    queue.target.holds = False
    queue.work(books[1])
    shared = file_name(queue.submission(books[1]).id)
    assert {name: sorted(found) for name, found in queue.files().items()} == {shared: rows("a", "b", "c")}
    due = {case.id for case in ledger.cases.due(10)}
    assert due == {books[0].case_id, books[2].case_id}, "whoever waits for the file is due once it is there"
    queue.work(*books)
    for book in books:
        submission = queue.submission(book)
        assert submission.state is SubmissionState.SENT
        assert str(submission.location).endswith(shared)
        [sent] = [e for e in ledger.queries.entries(book.case_id) if e.kind == EntryKind.SENT]
        assert (sent.records, sent.detail["accepted"]) == (2, 2)
    assert len(queue.files()) == 1


def of_another_account(queue: Queue) -> Book:
    return queue.waiting("b", account="acct_1")


def of_another_mode(queue: Queue) -> Book:
    return queue.waiting("b", livemode=True)


def left_to_a_person(queue: Queue) -> Book:
    book = queue.waiting("b")
    with book.held() as held, held.transaction() as transaction:
        transaction.record_failure("the key may not", None)
    return book


def refused_whole_before(queue: Queue) -> Book:
    book = queue.waiting("b")
    with book.held() as held, held.transaction() as transaction:
        transaction.submissions.judged(held.submissions[0].id, 1, "impset_9", "failed", None)
    return book


def with_the_same_identifiers(queue: Queue) -> Book:
    return queue.waiting("a", key="import_set:again")


def larger_than_small(queue: Queue) -> Book:
    return queue.waiting("b", shared_file.SMALL + 1)


@pytest.mark.parametrize(
    "another",
    [
        of_another_account,
        of_another_mode,
        left_to_a_person,
        refused_whole_before,
        with_the_same_identifiers,
        larger_than_small,
    ],
)
def test_what_cannot_share_goes_by_itself(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, another: Callable[[Queue], Book]
) -> None:
    monkeypatch.setattr(shared_file, "SMALL", 4)
    first, other = queue.waiting("a"), another(queue)
    queue.work(first)
    assert in_folder(queue) == rows("a")
    assert queue.ledger.chunks.of(queue.submission(other).id) == {}


def test_windows_of_pre_aggregated_meters_do_not_wait_in_a_shared_file(queue: Queue) -> None:
    """Between the last look and the connector's, a value would overwrite a newer one."""
    meter = {"id": "mtr_1", "event_name": "api_calls", "status": "active", "event_time_window": "hour"}
    queue.stripe.meters = [{**meter, "default_aggregation": {"formula": "last"}}]
    books = queue.waiting("a"), queue.waiting("b")
    queue.work(books[0])
    assert queue.ledger.chunks.of(queue.submission(books[1]).id) == {}


def test_a_case_that_somebody_works_on_or_that_has_moved_on_does_not_join(
    ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    """Its own worker would send its records as well."""
    queue = Queue(ledger, tmp_path, clock)
    first, held, moved, free = (queue.waiting(name) for name in ("a", "b", "c", "d"))

    def share(book: Book, version: int = 0) -> Share:
        case = ledger.cases.get(book.case_id)
        assert case is not None
        return Share(queue.submission(book), case.version - version, {})

    with ledger.cases.hold(held.case_id, "other", LEASE), ledger.cases.hold(first.case_id, "me", LEASE) as mine:
        others = [share(held), share(moved, 1), share(free)]
        ledger.shared_files.begin(mine.renewed, "one.csv", share(first), others, LEASE)
    members = [member.submission.case_id for member in ledger.shared_files.members("one.csv")]
    assert sorted(members) == sorted([first.case_id, free.case_id])


def test_a_worker_that_was_taken_for_gone_begins_no_second_file(queue: Queue) -> None:
    first, other = queue.waiting("a"), queue.waiting("b")
    with queue.ledger.cases.hold(other.case_id, "paused", LEASE) as paused:
        queue.clock.turn(hours=1)
        queue.work(first)
        with pytest.raises(Conflict):
            queue.ledger.chunks.intend(paused.renewed, queue.submission(other).id, 1, 0, 2, {})
    queue.work(other)
    assert in_folder(queue) == rows("a", "b")


def test_of_two_whose_turn_comes_at_once_each_record_goes_with_one(
    ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(ledger, tmp_path, clock)
    books = [queue.waiting(name) for name in "abcdef"]
    met, begin = threading.Barrier(2, timeout=20), SharedFiles.begin

    def begin_both(*args: Any) -> None:
        met.wait()
        begin(*args)

    monkeypatch.setattr(SharedFiles, "begin", begin_both)
    both = [threading.Thread(target=queue.work, args=(book,)) for book in books[:2]]
    for worker in both:
        worker.start()
    for worker in both:
        worker.join()
    monkeypatch.setattr(SharedFiles, "begin", begin)
    queue.work(*books, *books)
    assert in_folder(queue) == rows(*"abcdef")
    assert {queue.submission(book).state for book in books} == {SubmissionState.SENT}


def test_what_the_last_look_stops_of_another_case_stays_out_of_the_file(queue: Queue) -> None:
    """It was planned a day ago: somebody may have mended it by hand meanwhile."""
    old = queue.waiting("a")
    queue.clock.turn(hours=25)
    first = queue.waiting("b")
    queue.work(first, old)
    assert in_folder(queue) == rows("b")
    assert (old.balance(Bucket.QUARANTINED), old.balance(Bucket.SUBMITTED)) == (2, 0)


def died_over(queue: Queue, monkeypatch: pytest.MonkeyPatch, first: Book) -> None:
    """Let a worker die between the intent of a shared file and its writing."""

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(queue.target, "send", dies)
        with pytest.raises(KeyboardInterrupt):
            queue.work(first)


def test_who_waits_for_a_file_of_another_case_says_so_after_an_hour_and_cannot_be_undone(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = queue.waiting("a"), queue.waiting("b")
    died_over(queue, monkeypatch, first)
    queue.clock.turn(minutes=70)
    queue.work(other)
    assert queue.files() == {}, "only the case that gives a file its name writes it"
    case = queue.ledger.cases.get(other.case_id)
    assert case is not None
    assert str(case.trouble).endswith(f"which {queue.submission(first).id} writes")
    with pytest.raises(InputUnusable, match="still being sent"):
        submissions_of(queue.context, other.case_id)
    queue.work(first, other)
    assert in_folder(queue) == rows("a", "b")


@pytest.mark.parametrize("hours", [1, 22, 24])
def test_a_file_that_is_gone_goes_again_whole_or_comes_back_unresolved_for_all(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """After a day Stripe does not skip its identifiers any more, and would bill all of it twice."""
    books = queue.waiting("a"), queue.waiting("b")
    died_over(queue, monkeypatch, books[0])
    queue.clock.turn(hours=hours)
    queue.work(*books, *books)
    late = hours == 24
    assert in_folder(queue) == ([] if late else rows("a", "b"))
    assert [book.balance(Bucket.QUARANTINED) for book in books] == ([2, 2] if late else [0, 0])
    assert {queue.submission(book).state for book in books} == {SubmissionState.SENT}


def test_no_more_share_a_file_than_it_takes(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_file, "MOST_RECORDS", 5)
    books = [queue.waiting(name) for name in "abc"]
    queue.work(*books)
    assert [len(found) for found in queue.files().values()] == [4, 2]
