"""If these fail, a message says that something broke, and nobody can tell what, for whom, or where to look."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.books import Book, a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts
from tests.unit.alerts.test_slack import buttons, shown
from workers.alerts import Alert, NextStep
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.journal import EntryKind
from workers.pipeline.case_facts import facts_of
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver, trouble

CONSOLE = "https://ops.example.com"


@pytest.fixture
def context(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Context:
    made = a_context(sqlite_ledger, tmp_path, clock)
    return replace(made, settings=made.settings.model_copy(update={"console_url": CONSOLE}))


def told(context: Context, subject: str, step: NextStep | None = None) -> Alert:
    """Have a person told that something broke over a subject; return the message."""
    trouble(context, subject, "it cannot go on", "Stripe answered 403", step)
    deliver(context)
    assert isinstance(context.alerts, RecordingAlerts)
    return context.alerts.posted[-1]


def test_a_case_that_cannot_go_on_is_told_with_its_customers_quantity_and_deadline(context: Context) -> None:
    book = Book(context, 3, livemode=True, account="acct_1")
    book.move(EntryKind.QUARANTINED, [0, 1, 2])
    with book.held() as held, held.transaction() as transaction:
        transaction.know(*facts_of(context, held))
    case = book.case_id
    alert = told(context, case, NextStep("Mend the cause.", f"metermend retry {case}"))
    text = shown(alert)
    for part in (
        f"{case} · acct_1 · LIVE",
        "Stripe answered 403",
        "Case: 12 rows of usage.csv were refused (3 records), since 09:30 UTC",
        "Customers: cus_1",
        "Files: usage.csv",
        "Open: 4.5 api_calls",
        "Lost by: Sat 26 Dec 2026 09:29 UTC",
        f"`metermend retry {case}`",
    ):
        assert part in text, text
    assert buttons(alert) == {"Open in the console": f"{CONSOLE}/console/cases/{case}"}


def test_what_a_later_release_has_written_keeps_nobody_from_being_told(context: Context) -> None:
    """While its worker and our clock run side by side, one unknown word would silence all messages."""
    step = {"sentence": "Mend it.", "command": "metermend doctor", "urgency": "new"}
    later = {"subject": "worker", "headline": "it broke", "detail": "", "next_step": step, "severity": {"new": 1}}
    context.ledger.troubles.note("worker", "it broke", later)
    assert told(context, "archive").headline == "it cannot go on"
    assert isinstance(context.alerts, RecordingAlerts)
    assert [alert.headline for alert in context.alerts.posted] == ["it broke", "it cannot go on"]


@pytest.mark.parametrize(
    ("subject", "page"), [("evt_1", "/events/evt_1"), ("act_1", "/acts/act_1"), ("worker", None), ("rules", None)]
)
def test_what_has_a_page_is_led_to(context: Context, subject: str, page: str | None) -> None:
    alert = told(context, subject, NextStep("Mend the cause.", "metermend doctor"))
    assert list(buttons(alert).values()) == ([f"{CONSOLE}/console{page}"] if page else [])


def test_what_happened_is_told_at_length_and_how_often_it_did(context: Context) -> None:
    """The line of a stack of errors that says the cause often comes last."""
    for n in range(3):
        trouble(context, f"evt_{n}", "it cannot go on", f"{'x' * 400} the cause")
    deliver(context)
    assert isinstance(context.alerts, RecordingAlerts)
    assert "the cause And 2 more alike." in shown(context.alerts.posted[0])
