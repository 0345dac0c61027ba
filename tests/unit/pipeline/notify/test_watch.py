"""If these fail, a dead worker, a rolled secret or a silent Stripe is noticed only when invoices have gone out."""

from pathlib import Path

import pytest

from tests.books import a_context
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts
from workers.alerts import Trouble
from workers.kernel.errors import Transient
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.events import NewEvent
from workers.kernel.ledger.heartbeats import Sign
from workers.kernel.settings import load
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver, trouble
from workers.pipeline.notify.watch import Watch

ALIVE = (Sign.WORKER, Sign.CLOCK, Sign.ARCHIVE, Sign.WEBHOOK)


class Service:
    """A service whose parts live until they are named dead; `told` is what people have read."""

    def __init__(self, context: Context, clock: FrozenClock) -> None:
        self.context = context
        self.clock = clock
        self.watch = Watch(context)

    def run(self, seconds: int, *dead: Sign) -> None:
        """Let time pass, half a minute at a time, with a sign of each part that is not dead, and a look."""
        for _ in range(0, seconds, 30):
            self.clock.turn(seconds=30)
            for sign in ALIVE:
                if sign not in dead:
                    self.context.ledger.heartbeats.beat(sign)
            self.watch.look()

    def told(self) -> list[str]:
        deliver(self.context)
        alerts = self.context.alerts
        assert isinstance(alerts, RecordingAlerts)
        told = [f"{alert.subject}: {alert.headline}" for alert in alerts.posted if isinstance(alert, Trouble)]
        alerts.posted.clear()
        return told


@pytest.fixture
def service(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Service:
    return Service(a_context(sqlite_ledger, tmp_path, clock), clock)


def test_a_service_that_is_well_says_nothing(service: Service) -> None:
    service.run(300)
    assert service.told() == []


@pytest.mark.parametrize(
    ("dead", "said"),
    [
        (Sign.WORKER, "worker: no worker runs"),
        (Sign.ARCHIVE, "archive: the archive does not answer"),
    ],
)
def test_a_part_that_dies_is_told_once_and_once_more_when_it_is_back(
    service: Service, dead: Sign, said: str
) -> None:
    service.run(30)
    service.run(600, dead)
    assert service.told() == [said]
    service.run(600, dead)
    assert service.told() == []
    service.run(60)
    part, _, headline = said.partition(": ")
    assert service.told() == [f"{part}: Over: {headline}"]


def test_a_worker_that_is_restarted_is_no_news(service: Service) -> None:
    service.run(30)
    service.run(60, Sign.WORKER)
    service.run(60)
    assert service.told() == []


def test_a_clock_that_starts_anew_neither_tells_again_nor_forgets_that_it_is_over(service: Service) -> None:
    service.run(30)
    service.run(300, Sign.WORKER)
    assert service.told() == ["worker: no worker runs"]
    service.watch = Watch(service.context)
    service.run(300, Sign.WORKER)
    assert service.told() == []
    service.watch = Watch(service.context)
    service.run(60)
    assert service.told() == ["worker: Over: no worker runs"]


def test_a_service_that_was_off_for_the_night_does_not_miss_its_worker_at_once(service: Service) -> None:
    service.run(30)
    service.clock.turn(hours=9)
    service.watch = Watch(service.context)
    service.watch.look()
    service.run(60)
    assert service.told() == []


def test_no_webhook_for_a_day_is_told_where_some_came_before(service: Service) -> None:
    service.run(30, Sign.WEBHOOK)
    service.clock.turn(hours=48)
    service.run(60, Sign.WEBHOOK)
    assert service.told() == []
    service.run(30)
    service.clock.turn(hours=24)
    service.run(60, Sign.WEBHOOK)
    assert service.told() == ["webhooks: no webhook has come for 24 hours"]


def test_with_silence_hours_0_nobody_is_told_of_silence(
    sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock
) -> None:
    quiet = Service(a_context(sqlite_ledger, tmp_path, clock, settings=load({"silence_hours": 0})), clock)
    quiet.run(30)
    clock.turn(hours=48)
    quiet.run(60, Sign.WEBHOOK)
    assert quiet.told() == []


def test_signatures_that_are_refused_are_told_and_are_over_after_an_hour(service: Service) -> None:
    service.run(30)
    service.context.ledger.heartbeats.beat(Sign.SIGNATURES_REFUSED)
    service.run(60)
    said = "webhooks are refused: no secret of ours has signed them"
    assert service.told() == [f"signatures: {said}"]
    service.run(3660)
    assert service.told() == [f"signatures: Over: {said}"]


def test_events_that_wait_for_more_than_five_minutes_are_told(service: Service) -> None:
    service.context.ledger.events.record(NewEvent("evt_1", "thin", "v1.billing.meter.no_meter_found", False, b"{}"))
    service.run(300)
    assert service.told() == []
    service.run(60)
    assert service.told() == ["queue: events have waited for more than 5 minutes"]


class DeadSlack(RecordingAlerts):
    """Takes nothing until it is `back`."""

    back = False

    def post(self, alert: object, earlier: str | None = None) -> str | None:
        if not self.back:
            raise Transient("Slack could not be reached")
        assert isinstance(alert, Trouble)
        return super().post(alert, earlier)


def test_a_dead_slack_is_told_once_it_is_back(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> None:
    slack = DeadSlack()
    service = Service(a_context(sqlite_ledger, tmp_path, clock, alerts=slack), clock)
    trouble(service.context, "rules", "the rules cannot be read", "line 2")
    assert service.told() == []
    service.run(120)
    slack.back = True
    assert service.told() == ["rules: the rules cannot be read"]
    service.run(60)
    assert service.told() == ["slack: Over: Slack has not taken the last message"]
