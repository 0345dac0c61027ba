"""If these fail, a storm makes Slack refuse us or the reader mute us, or what was held back is never heard of."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts
from tests.unit.alerts.test_slack import shown
from tests.unit.pipeline.notify.storm import Storm, headlines
from workers.alerts import Alert, Digest, NextStep, Notice, Trouble
from workers.kernel.errors import LedgerUnavailable, Permanent, Transient
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver, trouble


@dataclass
class Channel(RecordingAlerts):
    """Slack, which answers by `answer` before it takes anything. A notice gets a name, as a bot's has one."""

    answer: Callable[[Alert], object] = lambda _alert: None
    is_bot: bool = False
    earlier: list[str | None] = field(default_factory=list)

    def post(self, alert: Alert, earlier: str | None = None) -> str | None:
        self.answer(alert)
        self.earlier.append(earlier)
        super().post(alert)
        return (earlier or f"C1/{len(self.posted)}") if self.is_bot and isinstance(alert, Notice) else None


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def context(ledger: Ledger, tmp_path: Path, clock: FrozenClock, channel: Channel) -> Context:
    """One process; on each sort of database, for others stand beside it."""
    return a_context(ledger, tmp_path, clock, alerts=channel)


def causes(context: Context, count: int, *, first: int = 0) -> None:
    """Let so many files be refused, each for a cause of its own; the n-th has n + 1 records."""
    for n in range(first, first + count):
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(n))
        Storm(context, f"{letters}.csv was refused whole").case(n, {Bucket.QUARANTINED: n + 1})


def told(context: Context, channel: Channel, **by: float) -> list[str]:
    """Let time pass and the clock have its turn; return what was said in it."""
    clock = context.clock
    assert isinstance(clock, FrozenClock)
    channel.posted.clear()
    clock.turn(**(by or {"seconds": 5}))
    deliver(context)
    return headlines(channel.posted)


def test_a_storm_of_causes_is_ten_messages_an_hour_and_loses_none(context: Context, channel: Channel) -> None:
    causes(context, 12)
    assert told(context, channel)[7:] == ["Held back: 5 incidents with 5 cases and 15 refused records"]
    said = 8
    for minute in range(50):
        causes(context, 1, first=20 + minute)
        said += len(told(context, channel, minutes=1))
    assert said == 10
    assert told(context, channel, minutes=11)[-1].startswith("Held back: ")
    assert all(incident.said for incident in context.ledger.incidents.recent(100))


def test_a_digest_names_the_largest_and_the_command_that_lists_the_rest(context: Context, channel: Channel) -> None:
    causes(context, 14)
    trouble(context, "evt_1", "an event could not be worked on", "no such file")
    told(context, channel)
    first, *_, digest = channel.posted
    assert isinstance(first, Trouble), "what broke goes first"
    assert isinstance(digest, Digest)
    text = shown(digest)
    assert "8 incidents with 8 cases and 36 refused records" in text
    assert "• h.csv was refused whole: 8 refused, 8 need a person" in text
    assert "and 3 more" in text
    assert "`metermend incidents`" in text


def test_a_digest_says_an_incident_only_once(context: Context, channel: Channel) -> None:
    causes(context, 12)
    told(context, channel)
    assert told(context, channel, hours=3) == []


def test_two_processes_share_what_a_channel_takes(
    context: Context, channel: Channel, database_url: str, clock: FrozenClock
) -> None:
    """Two clocks would post twice as much, each within its own bound."""
    other_ledger = connect(database_url, clock)
    other = replace(context, ledger=other_ledger, owner="another process")
    causes(context, 7)
    assert len(told(context, channel)) == 7
    causes(context, 5, first=7)
    assert told(other, channel) == []
    assert told(other, channel, minutes=15) == ["Held back: 5 incidents with 5 cases and 50 refused records"]
    assert told(context, channel) == []
    other_ledger.close()


def test_while_one_process_speaks_no_other_does(context: Context, channel: Channel) -> None:
    """Both would say the same."""
    causes(context, 1)
    other = replace(context, owner="another process")
    told_by_other: list[str] = []

    def meanwhile(_alert: Alert) -> None:
        channel.answer = lambda _: None
        deliver(other)
        told_by_other.extend(headlines(channel.posted))

    channel.answer = meanwhile
    assert len(told(context, channel)) == 1
    assert told_by_other == []


def test_a_process_that_died_while_it_spoke_silences_the_others_for_two_minutes(
    context: Context, channel: Channel
) -> None:
    """What it was about to say is said by the next one, once more at worst."""
    causes(context, 1)
    with context.ledger.alert_channels.turn(channel.channel, "died"):
        assert told(context, channel) == []
        assert len(told(context, channel, minutes=3)) == 1
    assert told(context, channel) == []


def test_a_full_rate_limit_pauses_every_process_as_long_as_slack_asks(context: Context, channel: Channel) -> None:
    asked: list[Alert] = []

    def limited(alert: Alert) -> None:
        asked.append(alert)
        raise Transient("Slack answered 429", retry_after=600)

    causes(context, 3)
    channel.answer = limited
    assert told(context, channel) == []
    assert told(replace(context, owner="another process"), channel, minutes=9) == []
    assert len(asked) == 1
    channel.answer = lambda _: None
    assert len(told(context, channel, minutes=1)) == 3, "what was refused is not lost, and does not count"


def test_a_slack_that_is_down_for_a_night_is_asked_ever_less_and_told_all(
    context: Context, channel: Channel
) -> None:
    asked: list[Alert] = []

    def away(alert: Alert) -> None:
        asked.append(alert)
        raise Transient("Slack could not be reached")

    causes(context, 2)
    channel.answer = away
    for _ in range(8 * 12):
        told(context, channel, minutes=5)
    assert 8 <= len(asked) <= 15
    channel.answer = lambda _: None
    assert len(told(context, channel, hours=1)) == 2


def test_a_message_that_slack_will_never_take_keeps_no_other_back(context: Context, channel: Channel) -> None:
    def choosy(alert: Alert) -> None:
        if alert.headline.startswith("b.csv"):
            raise Permanent("Slack answered 400 invalid_blocks")

    causes(context, 3)
    channel.answer = choosy
    assert [one[:5] for one in told(context, channel)] == ["c.csv", "a.csv"]


def test_a_message_that_can_be_changed_is_not_posted_again(context: Context, channel: Channel) -> None:
    """Changes call nobody, so ten times as many are let through."""
    channel.is_bot = True
    storm = Storm(context)
    storm.case(0, {Bucket.QUARANTINED: 1})
    for power in range(1, 13):
        told(context, channel)
        storm.case(0, {Bucket.QUARANTINED: 10**power})
    told(context, channel)
    assert channel.earlier == [None, *["C1/1"] * 12]


def test_alike_troubles_are_one_and_are_counted(context: Context, channel: Channel) -> None:
    """A key that lost a permission fails every event: forty messages of one text."""
    step = NextStep("Mend the cause.", "metermend retry evt_1")
    trouble(context, "evt_1", "an event could not be worked on", "evt_1Ab2: Stripe answered 403", step)
    assert len(told(context, channel)) == 1
    for n in range(2, 40):
        trouble(context, f"evt_{n}", "an event could not be worked on", f"evt_{n}Ab2: Stripe answered 403", step)
    assert told(context, channel) == []
    assert len(told(context, channel, minutes=15)) == 1
    assert "And 37 more alike." in shown(channel.posted[0])
    trouble(context, "evt_50", "an event could not be worked on", "evt_50Ab: Stripe answered 404", step)
    assert len(told(context, channel)) == 1, "of another cause"


def test_a_trouble_that_comes_again_over_the_same_subject_is_told_at_once(
    context: Context, channel: Channel
) -> None:
    """Somebody has mended it, retried, and waits for what comes of it."""
    for _ in range(2):
        trouble(context, "case_1", "a case cannot go on", "the bucket is gone")
        assert told(context, channel) == ["a case cannot go on"]


def test_a_ledger_that_is_away_ends_no_work_by_what_could_not_be_told(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has it."""

    def away(*_: object) -> None:
        raise LedgerUnavailable("the ledger does not answer")

    monkeypatch.setattr(context.ledger.troubles, "note", away)
    trouble(context, "case_1", "a case cannot go on", "the bucket is gone")
