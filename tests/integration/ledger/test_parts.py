"""One answer, whoever asks at once. If these fail, a part is uploaded twice, or one list is two cases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

from tests.builders import a_failure, a_movement
from workers.kernel.ledger import Ledger, parts
from workers.kernel.ledger.acts import HAND_OUT, ActState
from workers.kernel.ledger.journal import EntryKind, RecordSetRef
from workers.kernel.ledger.submissions import Intent
from workers.kernel.places import DASHBOARD

LEASE = timedelta(minutes=5)


def test_of_many_at_once_all_are_told_the_same(ledger: Ledger) -> None:
    """The first one decides, also where nothing stands there yet."""
    with ThreadPoolExecutor(8) as pool:
        told = list(
            pool.map(lambda n: ledger.checkpoints.decide("one", lambda there: there or {"by": n}), range(8))
        )
    assert len({one["by"] for one in told}) == 1
    assert ledger.checkpoints.get("one") == told[0]


def test_a_part_is_one_persons_until_it_is_let_go(ledger: Ledger) -> None:
    acts = [ledger.acts.ask(HAND_OUT, None, {}, name, "Monday") for name in ("ada", "bob", "cy")]
    with ThreadPoolExecutor(3) as pool:
        (holder,) = set(pool.map(lambda act: parts.take(ledger, None, act.id), acts))
    taken = parts.out(ledger, None)
    assert taken is not None
    assert taken.id == holder
    assert parts.take(ledger, "acct_1", acts[0].id) == acts[0].id, "another account's is another part"
    assert [parts.tell(ledger, None, holder, name) for name in ("act_1", "act_2")] == ["act_1", "act_1"]
    parts.let_go(ledger, None, holder)
    assert parts.tell(ledger, None, holder, "act_3") is None
    assert parts.take(ledger, None, acts[1].id) == acts[1].id


def test_a_part_whose_making_was_refused_is_the_next_ones(ledger: Ledger) -> None:
    """Else a fault while it is made keeps all others from uploading for ever."""
    first, second = (ledger.acts.ask(HAND_OUT, None, {}, name, "Monday") for name in ("ada", "bob"))
    parts.take(ledger, None, first.id)
    ledger.acts.end(first, ActState.REFUSED, {"error": "the archive is damaged"})
    assert parts.take(ledger, None, second.id) == second.id


def test_what_waits_for_a_part_and_what_is_out_is_known(ledger: Ledger) -> None:
    ref = RecordSetRef("cases/sent.parquet", "0" * 64)
    with ledger.cases.hold(a_failure(), "one", LEASE) as held:
        with held.transaction() as draft:
            draft.move(a_movement(EntryKind.SEEN, 40), a_movement(EntryKind.PLANNED, 40))
        assert ledger.queries.planned_records(None) == (1, 40)
        assert ledger.queries.planned_records("acct_1") == (0, 0)
        assert ledger.queries.planned_cases(None, livemode=False, limit=9) == [held.case.id]
        assert ledger.queries.planned_cases(None, livemode=True, limit=9) == []
        intent = Intent(f"{held.case.id}-1", 1, DASHBOARD, 40, Decimal(1), ("api_calls",), ref)
        with held.transaction() as draft:
            draft.submissions.intend(intent, 0)
            draft.move(a_movement(EntryKind.INTENDED, 40, submission_id=intent.id, record_set=ref))
        assert (parts.waiting(ledger, None), parts.waiting(ledger, "acct_1")) == ((1, 40), (0, 0))
        ledger.chunks.intend(held.renewed, intent.id, 1, 0, 30, {}, file="part.csv")
        assert parts.waiting(ledger, None) == (1, 10), "what did not fit into the part waits for the next one"
    assert [one.id for one in ledger.submissions.intended(DASHBOARD, None)] == [intent.id]
    assert ledger.chunks.open_files(DASHBOARD, None) == ["part.csv"]
    assert ledger.chunks.open_files(DASHBOARD, "acct_1") == []
    ledger.shared_files.finish("part.csv", {"records": 40})
    assert ledger.chunks.open_files(DASHBOARD, None) == []
