"""If these fail, a restore goes by unnoted: usage that the lost ledger has sent is planned again, and sent."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingJobQueue, RecordingStripeApi
from tests.unit.cli.usage import run
from workers.bootstrap import _of_process
from workers.kernel.clock import to_text
from workers.kernel.errors import Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import EventState, NewEvent
from workers.kernel.settings import Settings
from workers.pipeline.audit.prove import prove
from workers.pipeline.context import Context
from workers.pipeline.restores import last_restore

TYPE = "v1.billing.meter.error_report_triggered"


def a_report(number: int, created: datetime) -> dict[str, Any]:
    return {
        "id": f"evt_lost_{number}", "object": "v2.core.event", "type": TYPE, "livemode": False,
        "created": to_text(created),
    }  # fmt: skip


class AwayFor(RecordingStripeApi):
    """A Stripe whose lists of thin events break off so many times."""

    times = 0

    def thin_events(self, *asked: Any) -> Iterator[Any]:
        if self.times:
            self.times -= 1
            raise Transient("Stripe does not answer")
        return super().thin_events(*asked)


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A ledger with a case of six, restored from a backup of three days ago; Stripe lists two events since then.

    Logs go where they go in the service: not among what is printed.
    """
    monkeypatch.setattr("workers.pipeline.upkeep.reconcile.log", Mock())
    made = a_context(sqlite_ledger, tmp_path, clock, stripe=AwayFor())
    Book(made)
    stripe_of(made).events += [a_report(number, clock() + timedelta(hours=number)) for number in (1, 2)]
    clock.turn(days=3)
    monkeypatch.setattr("workers.cli.reconcile.open_context", lambda: made)
    return made


def stripe_of(context: Context) -> AwayFor:
    assert isinstance(context.stripe, AwayFor)
    return context.stripe


def states(context: Context) -> list[EventState]:
    """How the events that Stripe lists stand in the ledger."""
    found = [context.ledger.events.get(f"evt_lost_{number}") for number in (1, 2)]
    return [event.state for event in found if event]


def test_it_says_what_the_ledger_does_not_know_and_what_it_took_in_again(context: Context) -> None:
    """The operator could not tell for which days he has to compare with Stripe."""
    result = run("restored")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "nothing is known from 2026-11-21 09:30 to 2026-11-24 09:30 UTC",
        "own account, snapshot events since 2026-11-21 08:30 UTC: 0 listed, 0 were missing",
        "own account, thin events since 2026-11-21 08:30 UTC: 2 listed, 2 were missing",
    ]


def test_the_ledger_holds_the_restore_and_the_lost_events_and_nothing_else_has_changed(context: Context) -> None:
    """Workers that start now would send what was sent already, or would never hear of two refusals."""
    before = [context.ledger.queries.entries(case_id) for case_id in context.ledger.queries.case_ids()]
    run("restored")
    assert last_restore(context) == context.clock()
    assert states(context) == [EventState.RECEIVED] * 2
    assert isinstance(context.queue, RecordingJobQueue)
    assert [event_id for event_id, *_ in context.queue.events] == ["evt_lost_1", "evt_lost_2"]
    assert [context.ledger.queries.entries(case_id) for case_id in context.ledger.queries.case_ids()] == before
    assert [one.breach for one in prove(context.ledger, context.archive)] == [None]


def test_an_event_that_the_backup_holds_is_not_taken_in_again(context: Context, clock: FrozenClock) -> None:
    """It would be worked on twice, and its usage be counted twice."""
    clock.turn(days=-3)
    context.ledger.events.record(NewEvent("evt_lost_1", "thin", TYPE, False, b"{}"))
    clock.turn(days=3)
    assert "2 listed, 1 were missing" in run("restored").stdout


def test_asked_twice_it_takes_nothing_in_twice(context: Context, clock: FrozenClock) -> None:
    """An operator who is not sure whether he has done it would have to fear doing it again."""
    run("restored")
    clock.turn(minutes=10)
    again = run("restored")
    assert again.exit_code == 0
    assert "nothing is known from 2026-11-24 09:30 to 2026-11-24 09:40 UTC" in again.stdout
    assert "2 listed, 0 were missing" in again.stdout
    assert last_restore(context) == clock()


def test_what_broke_off_is_noted_all_the_same_and_asked_again_it_takes_in_the_whole_time(
    context: Context, clock: FrozenClock
) -> None:
    """He would start workers on a ledger of which nobody knows that it is old, or without three days' events."""
    stripe_of(context).times = 1
    result = run("restored")
    assert (result.exit_code, result.stderr) == (1, "  broke off: Stripe does not answer\n")
    assert "nothing is known from 2026-11-21 09:30" in result.stdout
    assert (last_restore(context), states(context)) == (clock(), [])
    clock.turn(minutes=10)
    again = run("restored")
    assert again.exit_code == 0
    assert "thin events since 2026-11-21 08:30 UTC: 2 listed, 2 were missing" in again.stdout


def test_an_older_restore_is_not_looked_behind_for_longer_than_stripe_lists(
    context: Context, clock: FrozenClock
) -> None:
    """It would claim to have compared years of which Stripe tells nothing any more."""
    run("restored")
    clock.turn(days=400)
    assert "events since 2027-11-29 08:30 UTC" in run("restored").stdout


def test_an_empty_ledger_has_lost_nothing_that_it_knows_of(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback in the worst hour of the year."""
    made = a_context(sqlite_ledger, tmp_path, clock)
    monkeypatch.setattr("workers.cli.reconcile.open_context", lambda: made)
    result = run("restored")
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing is known from 2026-11-21 09:30 to 2026-11-21 09:30 UTC\n")


def no_ledger(folder: Path) -> None:
    (folder / "ledger.db").unlink()


def no_release(folder: Path) -> None:
    (folder / "ledger.db").write_bytes(b"")


def no_key(_folder: Path) -> None:
    """Leave STRIPE_API_KEY unset, as it is."""


@pytest.mark.parametrize(
    ("spoil", "arguments", "told"),
    [
        (no_ledger, (), "no ledger at"),
        (no_release, (), "run `metermend db upgrade`"),
        (no_key, (), "STRIPE_API_KEY: no API key"),
        (no_key, ("2026-11-21",), "unexpected extra argument"),
        (no_key, ("--since", "3d"), "No such option"),
    ],
)
def test_what_it_refuses_is_one_line_and_leaves_no_note(
    sqlite_ledger: Ledger,
    tmp_path: Path,
    clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    arguments: Sequence[str],
    told: str,
) -> None:
    """A note in a ledger that is not the restored one would hold back usage that nobody has lost."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/ledger.db")
    _of_process.cache_clear()
    sqlite_ledger.close()
    spoil(tmp_path)
    result = run("restored", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    if spoil is no_key:
        assert last_restore(a_context(sqlite_ledger, tmp_path, clock)) is None
