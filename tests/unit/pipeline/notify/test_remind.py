"""If these fail, records wait for a person until it is too late to bill them, and nobody was told in time."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts
from tests.unit.alerts.test_slack import shown
from tests.unit.pipeline.notify.storm import Storm, headlines
from workers.kernel.errors import Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import state_of
from workers.kernel.ledger.journal import Balance, Bucket, Tally
from workers.kernel.ledger.tables import cases
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver
from workers.pipeline.notify.remind import left, remind

WAITS, SENT, BACK = {Bucket.QUARANTINED: 1}, {Bucket.SUBMITTED: 1}, {Bucket.CONFIRMED: 1}


class Company:
    """Cases whose usage is lost ten days after it was refused."""

    def __init__(self, context: Context, clock: FrozenClock) -> None:
        self.context = context
        self.clock = clock
        self.storm = Storm(context)
        self.began = clock.now

    def case(self, n: int, buckets: dict[Bucket, int], *, days: float = 10) -> str:
        """Let case n stand like this, in its row and in its incident."""
        case_id = self.storm.case(n, buckets)
        tallies = {bucket: Tally(records) for bucket, records in buckets.items()}
        balance = Balance(sum(tallies.values(), Tally()), tallies)
        values = {
            "balance": balance.to_json(),
            "state": state_of(balance),
            "deadline": self.began + timedelta(days=days),
        }
        with self.context.ledger.database.write() as connection:
            connection.execute(update(cases).where(cases.c.id == case_id).values(values))
        return case_id

    def told(self, *, days: float) -> list[str]:
        """Let time pass and the clock look twice; return what was said."""
        alerts = self.context.alerts
        assert isinstance(alerts, RecordingAlerts)
        alerts.posted.clear()
        self.clock.turn(days=days)
        for _ in range(2):
            remind(self.context)
            deliver(self.context)
        return headlines(alerts.posted)


@pytest.fixture
def company(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Company:
    made = a_context(sqlite_ledger, tmp_path, clock)
    return Company(replace(made, settings=made.settings.model_copy(update={"digest": "off"})), clock)


def test_what_waits_is_told_again_at_a_half_three_quarters_and_nine_tenths_of_its_time(company: Company) -> None:
    company.case(7, WAITS)
    assert len(company.told(days=1)) == 1, "its incident"
    assert company.told(days=3.9) == []
    what = "rows of usage-7.csv were refused for their format: 1 refused, 1 needs a person"
    assert company.told(days=0.2) == [f"Reminder, 4 days left: {what}"]
    assert company.told(days=2.3) == []
    assert company.told(days=0.2) == [f"Reminder, 2 days left: {what}"]
    assert company.told(days=1.3) == []
    assert company.told(days=0.2) == [f"Reminder, 21 hours left: {what}"]
    assert company.told(days=3) == []


def test_a_reminder_says_until_when_and_what_to_do(company: Company) -> None:
    case_id = company.case(7, WAITS)
    company.told(days=5.1)
    alerts = company.context.alerts
    assert isinstance(alerts, RecordingAlerts)
    text = shown(alerts.posted[-1])
    assert "Lost by Tue 1 Dec 2026 09:30 UTC" in text
    assert f"`metermend retry {case_id}`" in text


@pytest.mark.parametrize("mended", [SENT, BACK])
def test_what_waits_no_longer_is_not_told_of(company: Company, mended: dict[Bucket, int]) -> None:
    """Who has done his work would look for what he has forgotten."""
    company.case(0, WAITS)
    company.told(days=1)
    company.case(0, mended)
    assert [one for one in company.told(days=9) if one.startswith("Reminder")] == []


@pytest.mark.parametrize("mended", [SENT, BACK])
def test_what_is_mended_between_the_look_and_the_word_is_not_told_of(
    company: Company, mended: dict[Bucket, int]
) -> None:
    company.case(0, WAITS)
    company.told(days=1)
    company.clock.turn(days=5)
    remind(company.context)
    company.case(0, mended)
    assert [one for one in company.told(days=0.1) if one.startswith("Reminder")] == []


def test_many_cases_of_one_incident_are_one_reminder(company: Company) -> None:
    for n in range(25):
        company.case(n, WAITS)
    company.told(days=4.9)
    [reminder] = company.told(days=0.2)
    what = "rows of usage-*.csv were refused for their format: 25 cases"
    assert reminder.startswith(f"Reminder, 4 days left: {what}")


def test_a_clock_that_was_away_tells_the_last_share_alone(company: Company) -> None:
    company.case(0, WAITS)
    company.told(days=1)
    company.clock.turn(days=7)
    assert len(company.told(days=0.5)) == 1
    assert len(company.told(days=0.8)) == 1, "nine tenths are to come"


def test_two_clocks_tell_it_once_and_a_slack_that_is_away_gets_it_later(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.case(0, WAITS)
    company.told(days=1)
    other = replace(company.context, owner="another clock")
    company.clock.turn(days=5)

    def away(*_: object) -> None:
        raise Transient("Slack does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(company.context.alerts, "post", away)
        for context in (company.context, other):
            remind(context)
            deliver(context)
    company.clock.turn(minutes=5)
    alerts = company.context.alerts
    assert isinstance(alerts, RecordingAlerts)
    alerts.posted.clear()
    for context in (company.context, other, company.context):
        remind(context)
        deliver(context)
    assert len(alerts.posted) == 1


def test_a_deadline_that_moved_away_is_told_of_anew_and_one_that_moved_a_little_is_not(company: Company) -> None:
    """The oldest usage is settled: what is left has weeks, and must not be lost for having been told of once."""
    company.case(0, WAITS)
    company.told(days=9.5)
    company.case(0, WAITS, days=10.5)
    assert company.told(days=0.2) == []
    company.case(0, WAITS, days=30)
    assert company.told(days=5) == []
    assert len(company.told(days=1)) == 1


def test_repairs_that_cannot_be_sent_wait_for_a_person(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    """Without SUBMIT_TO repairs lie there planned, and nobody would think of them until it is too late."""
    for target, reminded in ((None, 1), ("there", 0)):
        made = a_context(sqlite_ledger, tmp_path, clock)
        company = Company(made if target else replace(made, target=None), clock)
        company.case(0, {Bucket.PLANNED: 1})
        assert len([one for one in company.told(days=5.1) if one.startswith("Reminder")]) == reminded


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (timedelta(days=12, hours=23), "12 days"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(minutes=119), "119 minutes"),
        (timedelta(seconds=80), "1 minute"),
        (timedelta(seconds=10), "0 minutes"),
    ],
)
def test_a_length_of_time_is_said_as_people_say_it(time: timedelta, said: str) -> None:
    assert left(time) == said
