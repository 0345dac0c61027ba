"""If these fail, a mistaken submission stays billed, or is taken back twice, or more of it than was billed."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.books import Book, a_context, records_of
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue, RecordingStripeApi
from tests.unit.protocol.mortality import Fuse, Killed, MortalDatabase
from workers.kernel.errors import InputUnusable, Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.pipeline.audit.prove import prove
from workers.pipeline.case_key import COUNTER_ENTRY
from workers.pipeline.context import Context
from workers.pipeline.record_sets import scan
from workers.pipeline.run import carry_on
from workers.pipeline.undo import cancel, reverse
from workers.pipeline.undo.approvals import left_open
from workers.pipeline.undo.cancel import submissions_of, undo, undoable
from workers.pipeline.undo.reverse import counter_enter, counter_identifier
from workers.records.schema import IDENTIFIER, REASON
from workers.stripe_api.errors import NotFound
from workers.sweeper import sweep


@dataclass
class CancellingStripe(RecordingStripeApi):
    """Remembers its answers as Stripe does for a repeated key, and can go away in the middle of a call."""

    answers: dict[str, Any] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    dies_after: int | None = None

    def cancel_meter_event(self, event_name: str, identifier: str, account: str | None) -> dict[str, Any]:
        if identifier not in self.answers:
            self.answers[identifier] = self._decide(identifier)
        if self.dies_after is not None and len(self.answers) > self.dies_after:
            raise Transient("Stripe did not answer")
        if isinstance(self.answers[identifier], NotFound):
            raise self.answers[identifier]
        return {"status": "pending"}

    def _decide(self, identifier: str) -> Any:
        if identifier not in self.meter_events:
            return NotFound(f"{identifier}: no such event", {"code": "resource_missing"})
        self.cancelled.append(identifier)
        return None


METER = {
    "id": "mtr_1",
    "event_name": "api_calls",
    "status": "active",
    "default_aggregation": {"formula": "sum"},
    "event_time_window": None,
    "customer_mapping": {"event_payload_key": "stripe_customer_id"},
    "value_settings": {"event_payload_key": "value"},
}


@pytest.fixture
def stripe() -> CancellingStripe:
    return CancellingStripe(meters=[METER], meter_events={f"u{n}": {} for n in range(6)})


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, stripe: CancellingStripe) -> Context:
    return a_context(sqlite_ledger, tmp_path, clock, stripe=stripe)


@pytest.fixture
def book(context: Context) -> Book:
    """Six records sent: one refused since, two confirmed, three not decided yet."""
    book = Book(context)
    submission = book.send(range(6))
    book.move(EntryKind.REFUSED, [0], submission_id=submission)
    book.move(EntryKind.CONFIRMED, [1, 2], submission_id=submission)
    return book


def holds(context: Context) -> bool:
    return all(proof.breach is None for proof in prove(context.ledger, context.archive))


def swept(context: Context) -> None:
    """Let the sweeper hint at what is due, and a worker do it."""
    sweep(context)
    queue = context.queue
    assert isinstance(queue, RecordingJobQueue)
    while queue.cases:
        carry_on(context, queue.cases.pop(0)[0])


def dies(*_: object) -> None:
    raise Transient("killed")


def quarantined(context: Context, book: Book) -> dict[str, str]:
    records = records_of(context, book.case_id, Bucket.QUARANTINED)
    return {} if records is None else dict(records.select(IDENTIFIER, REASON).collect().iter_rows())


def quarantined_as(reason: str, context: Context, book: Book) -> list[str]:
    return sorted(identifier for identifier, why in quarantined(context, book).items() if why == reason)


def test_what_counts_at_stripe_is_cancelled_and_put_before_a_person(
    context: Context, book: Book, stripe: CancellingStripe
) -> None:
    (submission,) = submissions_of(context, book.case_id)
    (plan,) = undoable(context, book.case_id)
    assert (plan.billed.records, plan.billed.quantity, plan.fresh) == (5, Decimal("17.5"), True)
    undone = undo(context, submission, approved_by="ada")
    assert (undone.cancelled, undone.not_cancelled) == (5, 0)
    assert sorted(stripe.cancelled) == ["u1", "u2", "u3", "u4", "u5"]
    assert quarantined(context, book) == dict.fromkeys(["u1", "u2", "u3", "u4", "u5"], "undone")
    assert book.balance(Bucket.CONFIRMED) == book.balance(Bucket.SUBMITTED) == 0
    assert undoable(context, book.case_id) == []
    assert holds(context)
    words = [entry for entry in context.ledger.queries.entries(book.case_id) if entry.kind == EntryKind.APPROVED]
    assert [(word.actor, word.records) for word in words] == [("ada", 5)]


def test_what_stripe_does_not_cancel_stays_and_its_words_are_kept(
    context: Context, book: Book, stripe: CancellingStripe
) -> None:
    del stripe.meter_events["u2"], stripe.meter_events["u5"]
    (submission,) = submissions_of(context, book.case_id)
    undone = undo(context, submission, approved_by="ada")
    assert (undone.cancelled, undone.not_cancelled) == (3, 2)
    assert undone.kept == (("u2", "u2: no such event"), ("u5", "u5: no such event"))
    assert (book.balance(Bucket.CONFIRMED), book.balance(Bucket.SUBMITTED)) == (1, 1)
    answers = scan(context, undone.answers).collect()
    assert dict(answers["answer"].value_counts().iter_rows()) == {"cancelled": 3, "not_cancelled": 2}
    assert holds(context)


def test_an_undo_that_stripe_turns_down_altogether_leaves_its_line(
    context: Context, book: Book, stripe: CancellingStripe
) -> None:
    stripe.meter_events.clear()
    (submission,) = submissions_of(context, book.case_id)
    assert undo(context, submission, approved_by="ada").not_cancelled == 5
    assert context.ledger.queries.entries(book.case_id)[-1].kind == EntryKind.UNDONE
    assert (book.balance(Bucket.CONFIRMED), book.balance(Bucket.SUBMITTED)) == (2, 3)
    assert holds(context)


@pytest.mark.parametrize("dies_after", [0, 1, 2, 3, 4])
def test_an_undo_that_breaks_off_goes_on_where_it_stopped(
    context: Context, book: Book, stripe: CancellingStripe, monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    monkeypatch.setattr(cancel, "CHUNK", 2)
    (submission,) = submissions_of(context, book.case_id)
    stripe.dies_after = dies_after
    with pytest.raises(Transient):
        undo(context, submission, approved_by="ada")
    assert holds(context)
    stripe.dies_after = None
    assert undo(context, submission, approved_by="bob").cancelled == 5
    assert sorted(stripe.cancelled) == ["u1", "u2", "u3", "u4", "u5"]
    assert holds(context)
    kinds = [entry.kind for entry in context.ledger.queries.entries(book.case_id)]
    assert kinds.count(EntryKind.APPROVED) == 1


def test_a_call_that_went_unanswered_for_a_day_is_not_repeated(
    context: Context, book: Book, stripe: CancellingStripe, clock: FrozenClock
) -> None:
    (submission,) = submissions_of(context, book.case_id)
    stripe.dies_after = 0
    with pytest.raises(Transient):
        undo(context, submission, approved_by="ada")
    clock.turn(hours=25)
    stripe.dies_after = None
    undone = undo(context, submission, approved_by="ada")
    assert (undone.cancelled, undone.unanswered) == (0, 5)
    assert set(quarantined(context, book).values()) == {"perhaps_undone"}
    assert stripe.cancelled == ["u1"]
    assert holds(context)


@pytest.mark.parametrize(
    ("ahead", "asked"),
    [
        (timedelta(minutes=10), True),
        (timedelta(hours=1), True),
        (timedelta(hours=1, seconds=1), False),
        (timedelta(days=1), False),
        (timedelta(days=400), False),
    ],
    ids=str,
)
def test_a_call_that_was_intended_by_a_clock_that_was_ahead_neither_waits_nor_is_repeated_unsure(
    context: Context, book: Book, stripe: CancellingStripe, clock: FrozenClock, ahead: timedelta, asked: bool
) -> None:
    """Nobody knows how old it is: the undo would stay half done, or be asked for again when nobody remembers it."""
    (submission,) = submissions_of(context, book.case_id)
    stripe.dies_after = 0
    clock.now += ahead
    with pytest.raises(Transient):
        undo(context, submission, approved_by="ada")
    clock.now -= ahead
    stripe.dies_after = None
    undone = undo(context, submission, approved_by="ada")
    assert (undone.cancelled, undone.unanswered) == ((5, 0) if asked else (0, 5))
    assert holds(context)


@pytest.mark.parametrize("dies_after", [0, 2, 4])
def test_an_undo_that_breaks_off_is_taken_up_by_the_sweeper(
    context: Context, book: Book, stripe: CancellingStripe, monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    """Without it what somebody has approved stays half done until he happens to ask again."""
    monkeypatch.setattr(cancel, "CHUNK", 2)
    (submission,) = submissions_of(context, book.case_id)
    stripe.dies_after = dies_after
    with pytest.raises(Transient):
        undo(context, submission, approved_by="ada")
    stripe.dies_after = None
    swept(context)
    assert sorted(stripe.cancelled) == ["u1", "u2", "u3", "u4", "u5"]
    assert quarantined_as("undone", context, book) == ["u1", "u2", "u3", "u4", "u5"]
    kinds = [entry.kind for entry in context.ledger.queries.entries(book.case_id)]
    assert kinds.count(EntryKind.APPROVED) == 1
    assert holds(context)


def test_a_process_that_is_killed_at_any_step_of_an_undo_leaves_it_to_the_sweeper(
    context: Context, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its approval is committed nothing is taken back; from then on everything is, once."""
    monkeypatch.setattr(cancel, "CHUNK", 2)
    book = Book(context, 3)
    submission_id = book.send(range(3))
    with book.held() as held, held.transaction() as transaction:
        transaction.reschedule(None)  # nothing of the case is due
    context.ledger.close()
    lived = False
    for steps in range(60):
        folder, fuse = tmp_path / "runs" / str(steps), Fuse()
        shutil.copytree(tmp_path / "archive", folder / "archive")
        shutil.copy(tmp_path / "ledger.db", folder)
        stripe = CancellingStripe(meter_events={f"u{n}": {} for n in range(3)})
        ledger = Ledger(MortalDatabase(f"sqlite:///{folder / 'ledger.db'}", fuse), clock)
        here = a_context(ledger, folder, clock, stripe=stripe)
        with fuse.lit(steps, None), suppress(Killed):
            undo(here, submissions_of(here, submission_id)[0], approved_by="ada")
            lived = True
        approved = any(entry.kind == EntryKind.APPROVED for entry in ledger.queries.entries(book.case_id))
        clock.turn(minutes=6)
        swept(here)
        assert sorted(stripe.cancelled) == (["u0", "u1", "u2"] if approved else [])
        assert quarantined_as("undone", here, book) == sorted(stripe.cancelled)
        assert left_open(ledger.queries.entries(book.case_id)) == []
        assert holds(here)
        ledger.close()
        if lived:
            break
    assert lived
    assert steps > 15


def test_an_undo_that_stripe_never_answers_ends_before_a_person(
    context: Context, book: Book, stripe: CancellingStripe, clock: FrozenClock
) -> None:
    (submission,) = submissions_of(context, book.case_id)
    stripe.dies_after = 0
    with pytest.raises(Transient):
        undo(context, submission, approved_by="ada")
    for _ in range(3):
        clock.turn(minutes=20)
        swept(context)
        assert quarantined_as("perhaps_undone", context, book) == []
    clock.turn(hours=24)
    swept(context)
    assert quarantined_as("perhaps_undone", context, book) == ["u1", "u2", "u3", "u4", "u5"]
    assert stripe.cancelled == ["u1"]


def test_a_record_that_was_refused_while_an_undo_lay_open_is_not_cancelled(
    context: Context, book: Book, stripe: CancellingStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next revision may have the same identifier, and that one is right."""
    monkeypatch.setattr(cancel, "CHUNK", 1)
    (submission,) = submissions_of(context, book.case_id)
    stripe.dies_after = 1
    with pytest.raises(Transient):
        undo(context, submission, approved_by="ada")
    book.move(EntryKind.REFUSED, [5], submission_id=submission.id)
    stripe.dies_after = None
    undone = undo(context, submission, approved_by="ada")
    assert (undone.cancelled, undone.not_cancelled) == (4, 1)
    assert "u5" not in stripe.cancelled
    assert holds(context)


def test_a_submission_on_its_way_cannot_be_undone(context: Context) -> None:
    book = Book(context)
    book.move(EntryKind.PLANNED, range(6))
    with pytest.raises(InputUnusable, match="there is no such case or submission"):
        undoable(context, "case_x")
    assert undoable(context, book.case_id) == []


def test_older_usage_is_taken_back_by_usage_of_the_negated_quantity(
    context: Context, book: Book, clock: FrozenClock
) -> None:
    clock.turn(hours=25)
    (plan,) = undoable(context, book.case_id)
    assert not plan.fresh
    entered = counter_enter(context, plan.submission, approved_by="ada")
    assert (entered.records, entered.left) == (5, {})
    assert entered.case_id is not None
    counter = context.ledger.cases.get(entered.case_id)
    assert counter is not None
    assert (counter.failure.kind, counter.balance[Bucket.PLANNED].quantity) == (COUNTER_ENTRY, Decimal("-17.5"))
    planned = records_of(context, entered.case_id, Bucket.PLANNED)
    assert planned is not None
    rows = planned.select(IDENTIFIER, "payload_value").sort(IDENTIFIER).collect().rows()
    assert rows[:2] == [("u1~undo", "-1.5"), ("u2~undo", "-2.5")]
    assert set(quarantined(context, book).values()) == {"counter_entered"}
    assert holds(context)


def test_a_counter_entry_that_breaks_off_is_made_once(
    context: Context, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    (submission,) = submissions_of(context, book.case_id)
    for step in ("_open_case", "taken_back"):
        with monkeypatch.context() as patch:
            patch.setattr(reverse, step, dies)
            with pytest.raises(Transient):
                counter_enter(context, submission, approved_by="ada")
        assert holds(context)
    assert counter_enter(context, submission, approved_by="ada").records == 5
    assert counter_enter(context, submission, approved_by="ada").case_id is None
    assert len(context.ledger.queries.case_ids()) == 2
    assert holds(context)


def test_a_counter_entry_that_breaks_off_is_taken_up_by_the_sweeper(
    context: Context, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Stripe has refused meanwhile counts no more: taken back, it would be billed below nothing."""
    (submission,) = submissions_of(context, book.case_id)
    with monkeypatch.context() as patch:
        patch.setattr(reverse, "_open_case", dies)
        with pytest.raises(Transient):
            counter_enter(context, submission, approved_by="ada")
    book.move(EntryKind.REFUSED, [5], submission_id=submission.id)
    swept(context)
    (counter,) = [case for case in context.ledger.queries.cases() if case.failure.kind == COUNTER_ENTRY]
    assert counter.balance.failed.quantity == Decimal("-12.0")
    assert quarantined_as("counter_entered", context, book) == ["u1", "u2", "u3", "u4"]
    assert holds(context)


def test_a_counter_entry_to_what_stripe_has_refused_since_ends(
    context: Context, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left open it would hold up its case for ever."""
    (submission,) = submissions_of(context, book.case_id)
    with monkeypatch.context() as patch:
        patch.setattr(reverse, "_open_case", dies)
        with pytest.raises(Transient):
            counter_enter(context, submission, approved_by="ada")
    book.move(EntryKind.REFUSED, [3, 4, 5], submission_id=submission.id)
    book.move(EntryKind.REFUSED, [1, 2], route=1, submission_id=submission.id)
    swept(context)
    entries = context.ledger.queries.entries(book.case_id)
    assert left_open(entries) == []
    assert [case.id for case in context.ledger.queries.cases()] == [book.case_id]
    assert holds(context)


@pytest.mark.parametrize(
    ("meter", "reason"),
    [
        ({"default_aggregation": {"formula": "count"}}, "meter_does_not_sum"),
        ({"event_time_window": "hour"}, "meter_does_not_sum"),
        ({"status": "inactive"}, "meter_not_active"),
    ],
)
def test_a_meter_that_cannot_take_it_gets_no_counter_entry(
    context: Context, book: Book, stripe: CancellingStripe, meter: dict[str, Any], reason: str
) -> None:
    stripe.meters = [METER | meter]
    (submission,) = submissions_of(context, book.case_id)
    entered = counter_enter(context, submission, approved_by="ada")
    assert (entered.case_id, entered.left) == (None, {reason: 5})
    assert (book.balance(Bucket.CONFIRMED), book.balance(Bucket.SUBMITTED)) == (2, 3)


def test_usage_that_stripe_takes_no_more_gets_no_counter_entry(
    context: Context, book: Book, clock: FrozenClock
) -> None:
    clock.turn(days=36)
    (submission,) = submissions_of(context, book.case_id)
    assert counter_enter(context, submission, approved_by="ada").left == {"usage_too_old": 5}


def test_a_counter_entrys_identifier_follows_from_the_one_it_takes_back() -> None:
    assert counter_identifier("u1~r2") == "u1~r2~undo"
    assert counter_identifier("x" * 100) == counter_identifier("x" * 100)
    assert len(counter_identifier("x" * 100)) <= 100
    assert counter_identifier("x" * 100) != counter_identifier("x" * 99)
