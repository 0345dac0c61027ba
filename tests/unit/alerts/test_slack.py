"""If these fail, Slack refuses the message, or the reader is told fewer records than are missing."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.alerts import Alert, CodeCount, NextStep, Notice, ReasonCount, Trouble
from workers.alerts.phrases import MAX_CODES, MAX_REASONS
from workers.alerts.slack import MAX_BLOCKS, MAX_HEADER, MAX_TEXT, message
from workers.kernel.ledger.journal import Tally

NOTICE = Notice(
    subject="case_3f2a",
    headline="1,312 rows of usage.csv were refused",
    livemode=True,
    account="acct_1",
    codes=[
        CodeCount(
            "meter_event_customer_not_found",
            refused=Tally(1200, Decimal("53210.50")),
            repaired=Tally(1100, Decimal("50000.50")),
            confirmed=Tally(900, Decimal(40000)),
            quarantined=Tally(100, Decimal(3210)),
        ),
        CodeCount("timestamp_in_future", Tally(112), deferred=Tally(112)),
    ],
    reasons=[ReasonCount("meter_event_customer_not_found", "unknown_customer", 100, "Nearest known id: cus_9")],
    oldest_usage=datetime(2026, 10, 20, 9, tzinfo=UTC),
    deadline=datetime(2026, 11, 24, 9, tzinfo=UTC),
    lost_by="its oldest open usage is too old to bill",
    about={"Customers": "cus_1, cus_2, cus_3 and 12 more"},
    next_step=NextStep(
        "Add a rule.",
        "metermend retry case_3f2a",
        "https://ops.example.com/cases/case_3f2a",
        {"Write off": "https://ops.example.com/cases/case_3f2a?act=write_off#decide"},
    ),
    files={"Sent": "s3://usage/metermend-1.csv"},
)


def texts(blocks: list[dict[str, Any]]) -> list[str]:
    return [body["text"] for body in bodies(blocks)]


def bodies(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The text objects of all blocks but those of buttons."""
    whole = [block["text"] for block in blocks if "text" in block]
    return whole + [part for block in blocks if block["type"] == "context" for part in block["elements"]]


def buttons(alert: Alert) -> dict[str, str]:
    """Label -> address of what can be pressed."""
    blocks = [block for block in message(alert).blocks if block["type"] == "actions"]
    return {one["text"]["text"]: one["url"] for block in blocks for one in block["elements"]}


def shown(alert: Alert) -> str:
    return "\n".join(texts(message(alert).blocks))


def test_a_notice_says_all_that_the_engineer_on_call_needs() -> None:
    text = shown(NOTICE)
    for part in (
        "1,312 rows of usage.csv were refused", "case_3f2a · acct_1 · LIVE",
        "1,312 (readable quantity 53210.5) refused",
        "`meter_event_customer_not_found` 1,200 (readable quantity 53210.5) refused: ",
        "1,100 (readable quantity 50000.5) repaired",
        "900 (readable quantity 40000) of them confirmed, 100 (readable quantity 3210) for you",
        "112 (quantity not known) deferred",
        "100: unknown customer (meter_event_customer_not_found). Nearest known id: cus_9",
        "Customers: cus_1, cus_2, cus_3 and 12 more",
        "Oldest open usage: Tue 20 Oct 2026 09:00 UTC",
        "Lost by Tue 24 Nov 2026 09:00 UTC: its oldest open usage is too old to bill.",
        "Add a rule.", "`metermend retry case_3f2a`",
        "Sent: `s3://usage/metermend-1.csv`",
    ):  # fmt: skip
        assert part in text
    case = "https://ops.example.com/cases/case_3f2a"
    assert buttons(NOTICE) == {"Open in the console": case, "Write off": f"{case}?act=write_off#decide"}


def test_without_a_console_there_is_nothing_to_press() -> None:
    """A button that leads nowhere is pressed at three in the morning."""
    assert buttons(replace(NOTICE, next_step=NextStep("Add a rule.", "metermend retry case_3f2a"))) == {}


def test_trouble_says_what_stopped_and_how_to_mend_it() -> None:
    text = shown(
        Trouble("evt_1", "An event could not be worked on", "Stripe answered 403", False, None, NOTICE.next_step)
    )
    for part in ("An event could not be worked on", "evt_1 · test mode", "Stripe answered 403", "metermend retry"):
        assert part in text


def test_a_name_that_speaks_slack_calls_nobody() -> None:
    """Customers' data stand in the suggestions; `<!channel>` in it would wake everyone."""
    alert = replace(
        NOTICE,
        headline="<!channel> & co",
        reasons=[ReasonCount("a`b<c>", "r", 1, "<!here> <https://evil.example|click>\n*x*")],
        next_step=NextStep("<!everyone>", "rm `x`", "https://ops.example.com/a|b>c"),
    )
    body = texts(message(alert).blocks)[1:]
    assert re.findall(r"<[^>]*>", "\n".join(body)) == []
    assert buttons(alert) == {"Open in the console": "https://ops.example.com/a%7Cb%3Ec"}
    assert message(alert).text == "&lt;!channel&gt; &amp; co"


def test_a_bare_address_becomes_no_link_and_a_bare_name_calls_nobody() -> None:
    """Slack makes links of addresses and mentions of names by itself, unless it is told to take text verbatim."""
    blocks = message(replace(NOTICE, headline="@channel https://evil.example")).blocks
    assert all(body["type"] == "plain_text" or body["verbatim"] for body in bodies(blocks))


def test_a_backtick_in_somebodys_data_ends_nothing_of_ours() -> None:
    alert = replace(
        NOTICE,
        account="`a`",
        headline="`h`",
        reasons=[ReasonCount("`c`", "`r`", 1, "`s`")],
        files={"`l`": "`p`"},
    )
    told = message(alert)
    assert re.findall("`[^`]*`", "\n".join(texts(told.blocks)[1:])) == [
        "`meter_event_customer_not_found`",
        "`timestamp_in_future`",
        "`metermend retry case_3f2a`",
        "`'p'`",
    ]
    assert "`" not in told.text


@pytest.mark.parametrize("obeyed", ["\x1b[2J", "\x07", "\u202e", "\u2066"])
def test_a_name_cannot_be_written_backwards(obeyed: str) -> None:
    alert = replace(NOTICE, headline=f"h{obeyed}", reasons=[ReasonCount("c", f"r{obeyed}", 1, f"s{obeyed}")])
    assert obeyed not in shown(alert) + message(alert).text


def test_what_does_not_fit_is_counted() -> None:
    codes = [CodeCount(f"code_{number}", Tally(10, Decimal(1))) for number in range(40)]
    reasons = [ReasonCount("c", f"reason_{number}", 7) for number in range(30)]
    text = shown(replace(NOTICE, codes=codes, reasons=reasons, files={f"part {n}": "x" for n in range(30)}))
    assert "400 (readable quantity 40) refused" in text
    assert f"`{40 - MAX_CODES} more codes` {10 * (40 - MAX_CODES)} " in text
    assert f"{7 * (30 - MAX_REASONS)} for {30 - MAX_REASONS} more reasons" in text
    assert "24 more files" in text


def test_a_sum_of_huge_quantities_is_exact() -> None:
    codes = [CodeCount("a", Tally(1, Decimal("9" * 60 + ".5"))), CodeCount("b", Tally(1, Decimal("0.25")))]
    assert "9" * 60 + ".75" in shown(replace(NOTICE, codes=codes))


foreign = st.text("<&>`*\n ü", max_size=8).map(lambda text: text * 90)
tallies = st.builds(Tally, st.integers(0, 10**9), st.decimals(-(10**30), 10**30, places=15))
alerts = st.builds(
    Notice,
    subject=foreign,
    headline=foreign,
    livemode=st.booleans(),
    account=st.none() | foreign,
    codes=st.lists(st.builds(CodeCount, foreign, tallies, tallies, tallies, tallies, tallies), max_size=15),
    reasons=st.lists(st.builds(ReasonCount, foreign, foreign, st.integers(0), foreign), max_size=9),
    about=st.dictionaries(foreign, foreign, max_size=4),
    next_step=st.none()
    | st.builds(
        NextStep,
        foreign,
        st.none() | foreign,
        st.none() | st.text(max_size=200),
        st.dictionaries(foreign, st.text(min_size=1, max_size=9).map(lambda text: text * 400), max_size=30),
    ),
    files=st.dictionaries(foreign, foreign, max_size=9),
) | st.builds(Trouble, foreign, foreign, foreign, st.none() | st.booleans())


@given(alerts)
def test_whatever_is_told_slack_takes_it(alert: Notice | Trouble) -> None:
    blocks = message(alert).blocks
    assert len(blocks) <= MAX_BLOCKS
    assert 0 < len(blocks[0]["text"]["text"]) <= MAX_HEADER
    assert all(0 < len(text) <= MAX_TEXT for text in texts(blocks))
    assert all(1 <= len(block["elements"]) <= 10 for block in blocks if block["type"] == "context")
    assert all(1 <= len(block["elements"]) <= 25 for block in blocks if block["type"] == "actions")
    assert all(len(label) <= 75 and len(address) <= 3000 for label, address in buttons(alert).items())
