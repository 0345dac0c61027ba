"""Without Slack, the terminal is the only place where an engineer learns of lost usage."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from tests.recording import RecordingAlerts
from tests.unit.alerts.test_slack import NOTICE
from workers.alerts import NextStep, Notice, PrintedAlerts, ReasonCount, Trouble


def _printed(alert: Notice | Trouble) -> str:
    out = StringIO()
    PrintedAlerts(Console(file=out, width=200)).post(alert)
    return out.getvalue()


def test_a_printed_notice_says_the_same_as_slack() -> None:
    text = _printed(NOTICE)
    for part in (
        "1,312 rows of usage.csv were refused", "case_3f2a · acct_1 · LIVE",
        "900 (readable quantity 40000) of them confirmed",
        "112 (quantity not known) deferred", "Nearest known id: cus_9", "Tue 24 Nov 2026 09:00 UTC",
        "metermend retry case_3f2a", "s3://usage/metermend-1.csv",
        "Customers: cus_1, cus_2, cus_3 and 12 more",
    ):  # fmt: skip
        assert part in text


def test_foreign_text_is_printed_as_it_is() -> None:
    """Square brackets are markup to rich: a name within them would vanish."""
    assert "usage[red].csv" in _printed(replace(NOTICE, headline="usage[red].csv"))


@pytest.mark.parametrize("obeyed", ["\x1b[2J", "\x1b]0;pwned\x07", "\u202e", "\u2066", "\x9b31m", "\x08"])
def test_an_event_cannot_steer_the_terminal(obeyed: str) -> None:
    """The reason and the file's name come from an event, which a sender's file has made."""
    step = NextStep(f"s{obeyed}", f"c{obeyed}", f"l{obeyed}")
    text = _printed(
        replace(
            NOTICE,
            headline=f"h{obeyed}",
            account=f"a{obeyed}",
            reasons=[ReasonCount(f"c{obeyed}", f"r{obeyed}", 1, f"s{obeyed}")],
            files={f"l{obeyed}": f"p{obeyed}"},
            next_step=step,
        )
    )
    assert obeyed not in text
    assert obeyed not in _printed(Trouble(f"s{obeyed}", f"h{obeyed}", f"d{obeyed}", None, None, step))


def test_trouble_is_printed_with_its_next_step() -> None:
    text = _printed(Trouble("evt_1", "headline", "detail", None, None, NOTICE.next_step))
    assert "detail" in text
    assert "metermend retry" in text


def test_a_recording_remembers_what_was_posted() -> None:
    alerts = RecordingAlerts()
    alerts.post(NOTICE)
    assert alerts.posted == [NOTICE]
