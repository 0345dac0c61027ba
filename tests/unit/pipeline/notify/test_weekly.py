"""If these fail, nobody sees what a week has cost and brought back, or everybody hears of it twice."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts
from tests.unit.alerts.test_slack import buttons, shown
from tests.unit.cli.usage import run
from workers import bootstrap
from workers.alerts import Alert, Digest
from workers.kernel.errors import SettingsUnusable, Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.appraisals import MeterPrices
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.money import UnitPrice
from workers.kernel.settings import load
from workers.pipeline.case_facts import facts_of
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver
from workers.pipeline.notify.weekly import digest_since


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    """A service that has run since Saturday, 21 November 2026, 09:30."""
    made = a_context(sqlite_ledger, tmp_path, clock)
    settings = made.settings.model_copy(update={"console_url": "https://ops.example.com"})
    deliver(replace(made, settings=settings))
    return replace(made, settings=settings)


def happen(context: Context, key: str = "import_set:1") -> None:
    """Let six records be refused: one is written off, two are recovered at 3 cents a unit, three wait."""
    price = UnitPrice("usd", *(type(context.settings.proof_quantity)(3),) * 2)
    context.ledger.appraisals.keep_prices(None, MeterPrices("api_calls", context.clock(), "sum", [price]))
    book = Book(context, key=key)
    keep(context, book)
    book.move(EntryKind.QUARANTINED, [0, 1, 2, 3])
    book.move(EntryKind.WRITTEN_OFF, [0])
    book.confirm([4, 5], book.send([4, 5]))
    keep(context, book)


def keep(context: Context, book: Book) -> None:
    """Keep what lists show of a case, as a worker does at the end of its turn."""
    with book.held() as held, held.transaction() as transaction:
        transaction.know(*facts_of(context, held))


def told(context: Context, **by: float) -> list[Alert]:
    """Let time pass and the clock have its turn; return the digests that were said in it."""
    clock, alerts = context.clock, context.alerts
    assert isinstance(clock, FrozenClock)
    assert isinstance(alerts, RecordingAlerts)
    alerts.posted.clear()
    clock.turn(**by)
    deliver(context)
    return [alert for alert in alerts.posted if isinstance(alert, Digest)]


def test_the_digest_says_what_was_refused_came_back_was_let_go_and_waits(context: Context) -> None:
    happen(context)
    assert told(context, days=1, hours=23) == []
    [digest] = told(context, minutes=30)
    text = shown(digest)
    for part in (
        "The week since Mon 16 Nov 2026 09:00 UTC",
        "Refused: 6 records (18 api_calls)",
        "Recovered, and proven to count: 2 records (10 api_calls), worth USD 0.30",
        "Written off: 1 record (0.5 api_calls)",
        "Waiting for you: 3 records (7.5 api_calls), worth USD 0.22",
        "They are of 1 case, the oldest since Sat 21 Nov 2026 09:30 UTC; the first usage is lost by Sat",
        "`metermend cases --state needs_person --sort risk`",
    ):
        assert part in text, text
    assert buttons(digest) == {"Open in the console": "https://ops.example.com/console/cases?state=needs_person"}


def test_it_is_said_once_a_week_by_whichever_clock_is_the_first(context: Context) -> None:
    happen(context)
    other = replace(context, owner="another clock")
    said = [len(told(clock, hours=8)) for _ in range(3 * 8) for clock in (context, other)]
    assert sum(said) == 3, "on three Mondays of sixteen days"


def test_what_slack_did_not_take_or_no_clock_was_there_to_say_is_said_later(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(context)

    def away(*_: object) -> None:
        raise Transient("Slack does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(context.alerts, "post", away)
        assert told(context, days=2) == []
    assert len(told(context, days=3)) == 1
    assert len(told(context, days=25)) == 1, "of four Mondays, the last"


def test_a_week_in_which_nothing_happened_is_passed_over(context: Context) -> None:
    assert told(context, days=2) == []
    happen(context)
    assert told(context, days=1) == [], "that week is over"


def test_a_digest_that_is_off_is_never_said(context: Context) -> None:
    happen(context)
    off = replace(context, settings=context.settings.model_copy(update={"digest": "off"}))
    assert told(off, days=20) == []


def test_what_was_taken_back_was_not_let_go(context: Context) -> None:
    """The sum of a week would not be what the ledger holds."""
    book = Book(context)
    book.move(EntryKind.QUARANTINED, range(6))
    book.move(EntryKind.WRITTEN_OFF, [0, 1])
    book.move(EntryKind.REOPENED, [1], route=3)
    digest = digest_since(context, context.clock() - timedelta(days=7))
    assert digest is not None
    assert "Written off: 1 record\n" in shown(digest)


@pytest.mark.parametrize("wrong", ["monday 09:00", "mon 9:00", "mon 24:00", "09:00", "mon"])
def test_a_moment_that_is_none_is_refused_with_the_form_that_is_meant(wrong: str) -> None:
    with pytest.raises(SettingsUnusable, match="write them as `mon 09:00`"):
        load({"digest": wrong})


def test_it_can_be_read_at_any_time_and_nothing_is_sent(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.cli.open_ledger.require_ledger", lambda _settings: "")
    monkeypatch.setattr(bootstrap, "context", lambda: context)
    assert "Nothing was refused or decided" in run("alert", "digest").output
    happen(context)
    assert "Refused: 6 records (18 api_calls)" in run("alert", "digest", width=120).output
    assert told(context, seconds=5) == []
