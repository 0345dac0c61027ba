"""If these fail, two workers decide about the same refused records, or the journal says what did not happen."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.builders import a_failure, a_movement, open_case
from tests.conftest import FrozenClock
from workers.kernel.errors import Conflict, Corrupt, Overtaken
from workers.kernel.ledger import Ledger, hash_chain
from workers.kernel.ledger.case import Case, CaseState
from workers.kernel.ledger.journal import Bucket, EntryKind, RecordSetRef, Tally
from workers.kernel.ledger.submissions import Intent, SubmissionState
from workers.kernel.ledger.tables import cases, entries

LEASE = timedelta(minutes=5)


def what_breaks(ledger: Ledger, case_id: str) -> str | None:
    """What is wrong with the first entry that does not hold."""
    case = ledger.cases.get(case_id)
    assert case is not None
    found = hash_chain.first_break(case.failure.key, case.head, ledger.queries.chained_entries(case_id))
    return found[1] if found else None


def opened(ledger: Ledger, *kinds: EntryKind, records: int = 3) -> Case:
    """A case whose journal has one entry of each kind, all of the same size."""
    case = open_case(ledger, a_failure())
    with ledger.cases.hold(case.id, "worker", LEASE) as held, held.transaction() as draft:
        for kind in kinds:
            draft.move(a_movement(kind, records, "4.5"))
    return held.case


def test_every_notice_of_a_failure_leads_to_one_case(ledger: Ledger) -> None:
    first = open_case(ledger, a_failure())
    second = open_case(ledger, a_failure(summary="told otherwise"))
    assert first == second
    assert ledger.queries.case_ids() == [a_failure().case_id]


def test_workers_that_open_a_case_at_once_get_the_same_one_one_after_the_other(ledger: Ledger) -> None:
    inside: list[int] = []

    def open_and_work(_: int) -> int:
        with suppress(Conflict), ledger.cases.hold(a_failure(), uuid4().hex, LEASE):
            inside.append(1)
            together = len(inside)
            inside.pop()
            return together
        return 0

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(open_and_work, range(16))) == 1
    assert ledger.queries.case_ids() == [a_failure().case_id]


def test_the_book_keeps_what_was_moved_and_the_case_follows_it(ledger: Ledger) -> None:
    case = opened(ledger, EntryKind.SEEN, EntryKind.PLANNED)
    assert (case.state, case.version) == (CaseState.PLANNED, 2)
    assert case.balance.failed == Tally(3, Decimal("4.5"))
    assert case.balance[Bucket.PLANNED] == Tally(3, Decimal("4.5"))
    assert ledger.cases.get(case.id) == case
    seen, planned = ledger.queries.entries(case.id)
    assert (seen.kind, seen.from_bucket, seen.to_bucket, seen.quantity) == ("seen", None, "pending", "4.5")
    assert (planned.number, planned.from_bucket, planned.to_bucket) == (2, "pending", "planned")
    assert what_breaks(ledger, case.id) is None


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ((EntryKind.SEEN,), CaseState.OPEN),
        ((EntryKind.SEEN, EntryKind.PLANNED, EntryKind.INTENDED), CaseState.AWAITING),
        ((EntryKind.SEEN, EntryKind.QUARANTINED), CaseState.NEEDS_PERSON),
        ((EntryKind.SEEN, EntryKind.DEFERRED), CaseState.DEFERRED),
        ((EntryKind.SEEN, EntryKind.PLANNED, EntryKind.INTENDED, EntryKind.CONFIRMED), CaseState.SETTLED),
        ((EntryKind.SEEN, EntryKind.QUARANTINED, EntryKind.WRITTEN_OFF), CaseState.SETTLED),
    ],
)
def test_a_case_stands_where_its_least_finished_record_stands(
    ledger: Ledger, kinds: tuple[EntryKind, ...], state: CaseState
) -> None:
    assert opened(ledger, *kinds).state is state


def test_a_quantity_of_any_length_is_kept_to_the_last_digit(ledger: Ledger) -> None:
    exact = "123456789012345678901234567890.000000000000000000000000000001"
    case = open_case(ledger, a_failure())
    with ledger.cases.hold(case.id, "worker", LEASE) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 1, exact))
        draft.move(a_movement(EntryKind.PLANNED, 1, exact))
    assert [entry.quantity for entry in ledger.queries.entries(case.id)] == [exact, exact]
    stored = ledger.cases.get(case.id)
    assert stored is not None
    assert stored.balance[Bucket.PLANNED].quantity == Decimal(exact)
    assert stored.balance[Bucket.PENDING] == Tally()


def test_an_overdrawn_bucket_writes_nothing_at_all(ledger: Ledger) -> None:
    case = opened(ledger, EntryKind.SEEN)
    with ledger.cases.hold(case.id, "worker", LEASE) as held:
        with pytest.raises(Corrupt), held.transaction() as draft:  # noqa: PT012 (the second move is refused)
            draft.move(a_movement(EntryKind.PLANNED, 2))
            draft.move(a_movement(EntryKind.PLANNED, 2))
        assert held.case.version == 1
    assert len(ledger.queries.entries(case.id)) == 1


def test_one_worker_holds_a_case_until_it_lets_go(ledger: Ledger) -> None:
    case = open_case(ledger, a_failure())
    with ledger.cases.hold(case.id, "one", LEASE):
        with pytest.raises(Conflict), ledger.cases.hold(case.id, "two", LEASE):
            pytest.fail("held twice")
        assert ledger.cases.due(10) == []
    with ledger.cases.hold(case.id, "two", LEASE):
        pass


def test_the_late_write_of_a_worker_that_lost_its_lease_fails(ledger: Ledger, clock: FrozenClock) -> None:
    case = open_case(ledger, a_failure())
    late = ledger.cases.hold(case.id, "one", LEASE)
    lost = late.__enter__()
    clock.turn(minutes=6)
    with ledger.cases.hold(case.id, "two", LEASE) as held:
        with held.transaction() as draft:
            draft.move(a_movement())
        with pytest.raises(Conflict), lost.transaction() as draft:
            draft.move(a_movement())
        with pytest.raises(Conflict):
            lost.renew()
        late.__exit__(None, None, None)  # leaves the other's lease alone
        held.renew()
    assert len(ledger.queries.entries(case.id)) == 1
    assert what_breaks(ledger, case.id) is None


def test_renewing_keeps_a_long_worker_in_possession(ledger: Ledger, clock: FrozenClock) -> None:
    case = open_case(ledger, a_failure())
    with ledger.cases.hold(case.id, "one", LEASE) as held:
        clock.turn(minutes=4)
        held.renew()
        clock.turn(minutes=4)
        with pytest.raises(Conflict), ledger.cases.hold(case.id, "two", LEASE):
            pytest.fail("held twice")


def test_writers_at_once_leave_one_unbroken_book(ledger: Ledger) -> None:
    case = open_case(ledger, a_failure())

    def write(worker: int) -> int:
        written = 0
        while written < 5:
            try:
                with ledger.cases.hold(case.id, f"worker-{worker}", LEASE) as held, held.transaction() as draft:
                    draft.move(a_movement())
                written += 1
            except Conflict:
                continue
        return written

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(4))) == 20
    stored = ledger.cases.get(case.id)
    assert stored is not None
    assert stored.version == 20
    assert stored.balance.failed == Tally(20, Decimal(20))
    assert what_breaks(ledger, case.id) is None


def test_trouble_is_shown_and_cleared_by_the_next_success(ledger: Ledger, clock: FrozenClock) -> None:
    case = open_case(ledger, a_failure())
    later = clock.now + timedelta(minutes=1)
    with ledger.cases.hold(case.id, "one", LEASE) as held:
        with held.transaction() as draft:
            draft.record_failure("Stripe answered 503", later)
        assert (held.case.trouble, held.case.attempts, held.case.due_at) == ("Stripe answered 503", 1, later)
        with held.transaction() as draft:
            draft.reschedule(None)
        assert (held.case.trouble, held.case.attempts, held.case.due_at) == (None, 0, None)
    assert ledger.cases.due(10) == []


def test_submissions_and_entries_commit_together(ledger: Ledger, clock: FrozenClock) -> None:
    case = opened(ledger, EntryKind.SEEN, EntryKind.PLANNED)
    intent = Intent("sub_1", 1, "file", 3, Decimal("4.5"), ("api_calls",), RecordSetRef("sets/1", "0" * 64))
    with ledger.cases.hold(case.id, "one", LEASE) as held:
        with pytest.raises(RuntimeError), held.transaction() as draft:  # noqa: PT012 (both writes are undone)
            draft.submissions.intend(intent, 0)
            draft.move(a_movement(EntryKind.INTENDED, 3, "4.5", submission_id="sub_1"))
            raise RuntimeError("killed before the commit")
        assert ledger.submissions.get("sub_1") is None
        with held.transaction() as draft:
            draft.submissions.intend(intent, 0)
            draft.move(a_movement(EntryKind.INTENDED, 3, "4.5", submission_id="sub_1"))
        with held.transaction() as draft:
            draft.submissions.sent("sub_1", "file:///out/1.csv", clock.now + timedelta(minutes=30))
        with pytest.raises(Conflict), held.transaction() as draft:
            draft.submissions.sent("sub_1", "file:///out/2.csv", clock.now)
    [submission] = ledger.submissions.of_case(case.id)
    assert (submission.state, submission.location) == (SubmissionState.SENT, "file:///out/1.csv")
    assert submission.quantity == Decimal("4.5")


def _alter(ledger: Ledger, case_id: str) -> None:
    with ledger.database.write() as connection:
        connection.execute(sa.update(entries).where(entries.c.number == 2).values(records=1))


def _remove_inner(ledger: Ledger, case_id: str) -> None:
    with ledger.database.write() as connection:
        connection.execute(sa.delete(entries).where(entries.c.number == 2))


def _remove_last(ledger: Ledger, case_id: str) -> None:
    with ledger.database.write() as connection:
        connection.execute(sa.delete(entries).where(entries.c.number == 3))


def _move_head(ledger: Ledger, case_id: str) -> None:
    with ledger.database.write() as connection:
        connection.execute(sa.update(cases).values(head="f" * 64))


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        (_alter, "entry 2 was altered"),
        (_remove_inner, "entry 2 is missing"),
        (_remove_last, "entries after 2 are missing"),
        (_move_head, "entries after 3 are missing"),
    ],
)
def test_whoever_alters_the_book_is_found_out(
    ledger: Ledger, tamper: Callable[[Ledger, str], None], finding: str
) -> None:
    case = opened(ledger, EntryKind.SEEN, EntryKind.PLANNED, EntryKind.INTENDED)
    assert what_breaks(ledger, case.id) is None
    tamper(ledger, case.id)
    assert what_breaks(ledger, case.id) == finding


def test_totals_run_over_all_cases(ledger: Ledger) -> None:
    opened(ledger, EntryKind.SEEN)
    other = open_case(ledger, a_failure("other"))
    with ledger.cases.hold(other.id, "one", LEASE) as held, held.transaction() as draft:
        draft.move(a_movement(EntryKind.SEEN, 2, "0.1"))
        draft.move(a_movement(EntryKind.QUARANTINED, 2, "0.1"))
    balance = ledger.queries.balance()
    assert balance.failed == Tally(5, Decimal("4.6"))
    assert balance.in_flight == Tally(3, Decimal("4.5"))
    assert balance.holds()
    assert ledger.queries.case_counts() == {"open": 1, "needs_person": 1}
    assert [case.id for case in ledger.queries.cases(states=[CaseState.NEEDS_PERSON])] == [other.id]


def test_of_two_submissions_that_look_at_the_same_turn_one_is_intended(ledger: Ledger) -> None:
    """Each was checked against everything that had been sent, but not against the other."""
    for key, account in (("a", None), ("b", None), ("c", "acct_1")):
        open_case(ledger, a_failure(key, account=account))
    intend(ledger, "a", None, last_turn=0)
    with pytest.raises(Overtaken):
        intend(ledger, "b", None, last_turn=0)
    assert ledger.submissions.get("sub_b") is None
    intend(ledger, "c", "acct_1", last_turn=0)
    assert turns(ledger, after=0) == [(1, "sub_a")]
    assert ledger.submissions.last_turn(None) == 1
    intend(ledger, "b", None, last_turn=1)
    assert turns(ledger, after=1) == [(2, "sub_b")]


def test_a_submission_whose_records_are_written_anew_takes_another_turn(ledger: Ledger) -> None:
    """Whoever remembers what it carried would never learn that its identifiers are others now."""
    case_id = open_case(ledger, a_failure("a")).id
    intend(ledger, "a", None, last_turn=0)
    with ledger.cases.hold(case_id, "test", LEASE) as held, held.transaction() as transaction:
        transaction.submissions.take_turns_again()
    assert turns(ledger, after=0) == [(1, "sub_a"), (2, "sub_a")]
    assert ledger.submissions.last_turn(None) == 2


def turns(ledger: Ledger, *, after: int) -> list[tuple[int, str]]:
    return [(turn, submission.id) for turn, submission in ledger.submissions.after_turn(None, after)]


def intend(ledger: Ledger, key: str, account: str | None, *, last_turn: int) -> None:
    """Intend the submission `sub_{key}` for the case of that key."""
    case_id = a_failure(key, account=account).case_id
    intent = Intent(f"sub_{key}", 1, "file", 3, Decimal("4.5"), ("gauge",), RecordSetRef("sets/1", "0" * 64))
    with ledger.cases.hold(case_id, "one", LEASE) as held, held.transaction() as draft:
        draft.submissions.intend(intent, last_turn)
