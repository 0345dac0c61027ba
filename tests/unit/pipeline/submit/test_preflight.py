"""What has changed between the intent and the sending: if these fail, an older value overwrites a newer one.

Each case has a submission that was intended while the way to Stripe was shut; then something happens, and it
goes on.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.books import Book, a_context, some_usage
from tests.conftest import FrozenClock
from tests.recording import RecordingAlerts, RecordingStripeApi, RecordingUsageSources
from workers.kernel.clock import to_text
from workers.kernel.ledger import Ledger, connect
from workers.kernel.ledger.journal import EntryKind
from workers.pipeline.approvals import OVERWRITE, approved
from workers.pipeline.context import Context
from workers.pipeline.notify import deliver
from workers.pipeline.record_sets import DATA, RECORD, movement, numbered
from workers.pipeline.run import _tell_of_queue
from workers.pipeline.submit.last_look import LastLook
from workers.records.schema import REASON, WRITTEN, dtype_of
from workers.stripe_api.protocol import Summary
from workers.targets import Rows

pytestmark = pytest.mark.xdist_group("preflight")

HOUR = timedelta(hours=1)
AT = 1_795_253_400 - 2 * 3600
"""When the usage of the submission was: half past an hour that is over."""
START = datetime.fromtimestamp(AT // 3600 * 3600, UTC)
LAST = AT // 3600 * 3600 + 3599
CUS_2 = {"payload_stripe_customer_id": "cus_2"}
LAST_AS_TEXT = f"{START:%Y-%m-%dT%H}:59:59Z"
METER = {
    "id": "mtr_1",
    "event_name": "api_calls",
    "status": "active",
    "default_aggregation": {"formula": "sum"},
    "event_time_window": "hour",
    "customer_mapping": {"event_payload_key": "stripe_customer_id"},
    "value_settings": {"event_payload_key": "value"},
}


@dataclass
class Way:
    """A case whose one record, 0.5 of cus_1 at AT, is intended; what a test does to it happens after that."""

    context: Context
    stripe: RecordingStripeApi
    clock: FrozenClock
    book: Book

    def counts(
        self, value: str, *, customer: str = "cus_1", later: timedelta = timedelta(0), meter: str = "mtr_1"
    ) -> "Way":
        summary = Summary(START + later, START + later + HOUR, Decimal(value))
        self.stripe.summaries.setdefault((meter, customer), []).append(summary)
        return self

    def sender_writes(self, value: str, *, at: object = AT + 60, **cells: str) -> None:
        changes = {"timestamp": str(at), "payload_value": value, "identifier": "x-1", **cells}
        row = (
            some_usage(1)
            .drop("message", "@quantity", strict=False)
            .with_columns(
                *(pl.lit(text).alias(name) for name, text in changes.items()),
                pl.lit(self.clock(), dtype_of(WRITTEN)).alias(WRITTEN),
            )
        )
        self.context = replace(self.context, sources=RecordingUsageSources(row))

    def another_case_sends(self, *, at: int = AT + 60) -> None:
        other = Book(self.context, 1, key="import_set:impset_2")
        other.frame = other.frame.with_columns(timestamp=pl.lit(str(at)), identifier=pl.lit("other"))
        other.send([0])

    def same_case_learns(self, value: str) -> None:
        newer = self.book.frame.with_columns(
            pl.lit(1, pl.Int64).alias(RECORD),
            pl.lit(str(AT + 60)).alias("timestamp"),
            pl.lit(value).alias("payload_value"),
            pl.lit("u1").alias("identifier"),
        )
        self.book.frame = pl.concat([self.book.frame, newer])
        self.book.move(EntryKind.SEEN, [1])
        self.book.move(EntryKind.QUARANTINED, [1], reason="ambiguous_value")

    def meters_are(self, **changes: object) -> "Way":
        self.stripe.meters = [METER | changes]
        return self

    def stopped(self) -> list[str]:
        with self.book.held() as held:
            [submission] = held.submissions
            return [one.reason for one in LastLook(self.context, held, submission)(Rows(0, 1))]


def on_its_way(ledger: Ledger, folder: Path) -> Way:
    clock, stripe = FrozenClock(), RecordingStripeApi(meters=[dict(METER)])
    context = a_context(ledger, folder, clock, stripe=stripe)
    book = Book(context, 0)
    book.frame = numbered(some_usage(1, at=AT), first=0, refused_as=DATA).with_columns(
        pl.lit(None, pl.String).alias(REASON)
    )
    book.move(EntryKind.SEEN, [0])
    book.send([0])
    return Way(context, stripe, clock, book)


@pytest.fixture
def fresh(sqlite_ledger: Ledger, tmp_path: Path) -> Way:
    return on_its_way(sqlite_ledger, tmp_path)


@pytest.fixture(scope="module")
def shared(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """One book for all tests that write nothing into it."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copy(migrated_sqlite, folder / "ledger.db")
    ledger = connect(f"sqlite:///{folder / 'ledger.db'}", FrozenClock())
    yield on_its_way(ledger, folder)
    ledger.close()


@pytest.fixture
def way(shared: Way, clock: FrozenClock) -> Way:
    """The shared book, with a Stripe and a clock of the test's own."""
    stripe = RecordingStripeApi(meters=[dict(METER)])
    return Way(replace(shared.context, stripe=stripe, clock=clock), stripe, clock, shared.book)


Happens = Callable[[Way], object]


def counted_earlier_that_day(way: Way) -> None:
    way.meters_are(event_time_window="day").counts("3", later=-3 * HOUR)


NEWER: dict[str, Happens] = {
    "Stripe has counted more": lambda way: way.counts("140"),
    "Stripe has counted less": lambda way: way.counts("0.4"),
    "Stripe has counted nothing used": lambda way: way.counts("0"),
    "Stripe has counted below nothing": lambda way: way.counts("-0.5"),
    "Stripe has counted the value and another": lambda way: way.counts("0.5").counts("7"),
    "the sender has written a later value": lambda way: way.sender_writes("140"),
    "the sender has written one of the last second": lambda way: way.sender_writes("140", at=LAST),
    "the sender has written another value of the second": lambda way: way.sender_writes("140", at=AT),
    "the sender has written a value that nobody can read": lambda way: way.sender_writes("about ten"),
    "the sender has written a value in milliseconds": lambda way: way.sender_writes("140", at=f"{AT + 60}000"),
    "the sender has written one with its time as text": lambda way: way.sender_writes("140", at=LAST_AS_TEXT),
    "the sender has mended the very row": lambda way: way.sender_writes("140", at=AT, identifier="u0"),
    "the meter keeps a value a day by now": counted_earlier_that_day,
    "its plan is a day old": lambda way: way.clock.turn(hours=24),
}  # fmt: skip


@pytest.mark.parametrize("happens", NEWER.values(), ids=NEWER)
def test_a_value_that_is_not_the_latest_any_more_does_not_go(way: Way, happens: Happens) -> None:
    """The meter keeps what it receives last: our 0.5 would be billed for the 140 that the sender meant."""
    assert way.stopped() == []
    happens(way)
    assert way.stopped() in (["would_overwrite"], ["planned_long_ago"])


WRITTEN_MEANWHILE: dict[str, Happens] = {
    "another case of ours has filled the window": Way.another_case_sends,
    "another case of ours has filled it with an older value": lambda way: way.another_case_sends(at=AT - 60),
    "a newer value was refused and cannot be read": lambda way: way.same_case_learns("about ten"),
    "a newer value was refused and waits": lambda way: way.same_case_learns("140"),
}  # fmt: skip


@pytest.mark.parametrize("happens", WRITTEN_MEANWHILE.values(), ids=WRITTEN_MEANWHILE)
def test_a_value_does_not_go_once_the_book_knows_of_another(fresh: Way, happens: Happens) -> None:
    """Two corrections of ours would fill one window, and which of them is billed were left to chance."""
    happens(fresh)
    assert fresh.stopped() == ["would_overwrite"]


ELSE: dict[str, Happens] = {
    "Stripe has counted the very value": lambda way: way.counts("0.5"),
    "Stripe writes the value otherwise": lambda way: way.counts("0.500"),
    "Stripe has counted in the hour after": lambda way: way.counts("140", later=HOUR),
    "Stripe has counted in the hour before": lambda way: way.counts("140", later=-HOUR),
    "Stripe has counted another customer": lambda way: way.counts("140", customer="cus_2"),
    "Stripe has counted on another meter": lambda way: way.counts("140", meter="mtr_2"),
    "the sender has written an older value": lambda way: way.sender_writes("140", at=AT - 1),
    "the sender has written the value again": lambda way: way.sender_writes("0.50"),
    "the sender has written of the next hour": lambda way: way.sender_writes("140", at=LAST + 1),
    "the sender has written of another customer": lambda way: way.sender_writes("9", **CUS_2),
    "the sender has written of another meter": lambda way: way.sender_writes("9", event_name="tokens"),
    "Stripe was away for most of a day": lambda way: way.clock.turn(hours=23, minutes=59),
    "the meter adds up by now": lambda way: way.meters_are(event_time_window=None).counts("140"),
}  # fmt: skip


@pytest.mark.parametrize("happens", ELSE.values(), ids=ELSE)
def test_what_does_not_concern_its_window_does_not_keep_a_value_back(way: Way, happens: Happens) -> None:
    """After every short outage a person would have to answer for usage that nothing speaks against."""
    happens(way)
    assert way.stopped() == []


AHEAD = [timedelta(hours=1, seconds=1), timedelta(hours=5), *(timedelta(days=days) for days in (1, 30, 400, 3650))]


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
def test_a_plan_that_a_clock_has_dated_ahead_is_no_new_plan(way: Way, ahead: timedelta) -> None:
    """It would go unasked for as long as the clock was ahead, long after somebody has mended it by hand."""
    way.clock.now -= ahead
    assert way.stopped() == ["planned_long_ago"]


@pytest.mark.parametrize("ahead", [timedelta(minutes=1), timedelta(minutes=59), timedelta(hours=1)], ids=str)
def test_clocks_that_differ_a_little_stop_nothing(way: Way, ahead: timedelta) -> None:
    """Every case that another machine planned would wait for a person."""
    way.clock.now -= ahead
    assert way.stopped() == []


def test_a_word_that_was_given_by_a_clock_that_was_ahead_does_not_last_as_long(fresh: Way) -> None:
    """Somebody let 0.5 replace 7 in that hour: weeks later it would replace whatever has come since."""
    way = fresh
    ref = way.book.keep([0])
    word = movement(way.context, EntryKind.APPROVED, (None, None), ref, detail={OVERWRITE: True})
    with way.book.held() as held, held.transaction() as transaction:
        transaction.move(word)
    with way.book.held() as held:
        assert approved(way.context, held, OVERWRITE).height == 1
        given = way.clock()
        for ahead in AHEAD:
            way.clock.now = given - ahead
            assert approved(way.context, held, OVERWRITE).is_empty()


def test_what_was_told_by_a_clock_that_was_ahead_is_told_again(way: Way) -> None:
    """Nobody would hear of a folder that stands still until that day comes."""
    alerts = RecordingAlerts()
    context = replace(way.context, alerts=alerts)
    for told, ahead in enumerate([timedelta(0), *AHEAD], 1):
        context.ledger.checkpoints.save("queue_told", to_text(way.clock() + ahead))
        _tell_of_queue(context, way.book.case_id, "waiting for its turn")
        deliver(context)
        assert len(alerts.posted) == told - 1
