"""If these fail, evidence of usage that is not settled yet is deleted, or a deletion looks like a loss."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.books import EVENT, Book, a_context
from tests.conftest import FrozenClock
from workers.archive import Archive
from workers.kernel.errors import SettingsUnusable
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisals import BillingPeriod
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.tables import events
from workers.kernel.settings import load
from workers.pipeline.audit.prove import prove
from workers.pipeline.context import Context
from workers.pipeline.upkeep.retention import Removed, retain


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    record_event(sqlite_ledger, EVENT)
    return a_context(sqlite_ledger, tmp_path, clock)


def record_event(ledger: Ledger, event_id: str, state: EventState = EventState.DONE) -> None:
    ledger.events.record(NewEvent(event_id, "thin", "v1.billing.meter.error_report_triggered", False, b"{}"))
    ledger.events.claim(event_id, "worker", timedelta(minutes=5))
    ledger.events.finish(event_id, "worker", state)


def settled(context: Context, **failure: str) -> Book:
    book = Book(context, 3, **failure)
    book.confirm([0, 1, 2], book.send([0, 1, 2]))
    return book


def body(context: Context, event_id: str) -> bytes | None:
    event = context.ledger.events.get(event_id)
    assert event is not None
    return event.raw


def test_a_case_that_has_been_settled_for_long_loses_its_files_and_keeps_its_book(
    context: Context, clock: FrozenClock
) -> None:
    book = settled(context)
    clock.turn(days=399)
    assert retain(context) == Removed(0, 0)
    clock.turn(days=2)
    assert retain(context) == Removed(1, 1)
    assert context.archive.names(book.case_id) == []
    proof = next(prove(context.ledger, context.archive, book.case_id))
    assert (proof.breach, proof.removed_at) == (None, clock.now)
    last = context.ledger.queries.entries(book.case_id)[-1]
    assert (last.kind, last.actor, len(last.detail["files"])) == (EntryKind.REMOVED, "retention", 2)
    clock.turn(days=401)
    assert retain(context) == Removed(0, 0)


@pytest.mark.parametrize("kind", [EntryKind.QUARANTINED, EntryKind.DEFERRED, EntryKind.PLANNED])
def test_a_case_that_is_not_settled_keeps_everything(context: Context, clock: FrozenClock, kind: EntryKind) -> None:
    book = Book(context, 3)
    book.move(kind, [0, 1, 2])
    clock.turn(days=4000)
    assert retain(context) == Removed(0, 0)
    assert len(context.archive.names(book.case_id)) > 0
    assert body(context, EVENT) == b"{}"


def test_an_event_that_ended_badly_keeps_its_body_for_the_retry(context: Context, clock: FrozenClock) -> None:
    record_event(context.ledger, "evt_failed", EventState.FAILED)
    record_event(context.ledger, "evt_ignored", EventState.IGNORED)
    clock.turn(days=401)
    assert retain(context).bodies == 2
    assert (body(context, "evt_failed"), body(context, "evt_ignored")) == (b"{}", None)


def test_a_body_that_retention_removed_is_no_loss_and_one_that_it_did_not_is(
    context: Context, clock: FrozenClock
) -> None:
    """A body that somebody removed is evidence that is gone."""
    settled(context)
    clock.turn(days=401)
    record_event(context.ledger, "evt_young", EventState.IGNORED)
    retain(context)
    assert body(context, EVENT) is None
    assert [proof.breach for proof in prove(context.ledger, context.archive) if proof.breach] == []
    with context.ledger.database.write() as connection:
        connection.execute(sa.update(events).values(raw=None))
    found = [proof.breach.what for proof in prove(context.ledger, context.archive) if proof.breach]
    assert found == ["event evt_young: the body is missing, and retention has not come to it"]


def test_how_far_retention_has_come_never_goes_back(context: Context, clock: FrozenClock) -> None:
    """Else a longer retention would make every body that is gone a loss."""
    settled(context)
    clock.turn(days=401)
    retain(context)
    longer = context.settings.model_copy(update={"retention_raw_days": 900})
    retain(replace(context, settings=longer))
    assert [proof.breach for proof in prove(context.ledger, context.archive) if proof.breach] == []


def test_zero_keeps_for_ever(context: Context, clock: FrozenClock) -> None:
    settled(context)
    settings = context.settings.model_copy(update={"retention_raw_days": 0, "retention_record_sets_days": 0})
    clock.turn(days=4000)
    assert retain(replace(context, settings=settings)) == Removed(0, 0)


def test_files_that_a_crash_left_behind_go_at_the_next_turn(
    context: Context, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = settled(context)
    clock.turn(days=401)

    def dies(_: Archive, __: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            retain(context)
    assert len(context.archive.names(book.case_id)) == 2
    assert next(prove(context.ledger, context.archive, book.case_id)).breach is None
    retain(context)
    assert context.archive.names(book.case_id) == []


def test_a_crash_before_the_entry_deletes_nothing(context: Context, clock: FrozenClock) -> None:
    book = settled(context)
    context.ledger.checkpoints.save("retention:removing", book.case_id)
    retain(context)
    assert len(context.archive.names(book.case_id)) == 2
    assert next(prove(context.ledger, context.archive, book.case_id)).breach is None


def test_a_retention_shorter_than_stripes_own_window_is_refused() -> None:
    with pytest.raises(SettingsUnusable, match=r"RETENTION_RECORD_SETS_DAYS: .*20 days are too few"):
        load({"retention_record_sets_days": 20})


def test_what_was_read_of_customers_long_ago_is_forgotten(context: Context, clock: FrozenClock) -> None:
    """Each customer of any refusal would stay in the ledger for ever."""
    appraisals = context.ledger.appraisals
    for customer, days in (("cus_1", 20), ("cus_2", 20)):
        appraisals.keep_period(None, BillingPeriod(customer, clock.now))
        clock.turn(days=days)
    retain(context)
    assert list(appraisals.periods(None, ["cus_1", "cus_2"])) == ["cus_2"]
