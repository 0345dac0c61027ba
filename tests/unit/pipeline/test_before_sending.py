"""What has changed between the intent and the sending: if these fail, an older value overwrites a newer one.

Each case has a submission that was intended while the way to Stripe was shut; then something happens, and it goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.books import Book, a_context, some_usage
from tests.conftest import FrozenClock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.movements import EntryKind
from workers.pipeline.book import RECORD
from workers.pipeline.context import Context
from workers.pipeline.rechecking import LastLook
from workers.records.schema import WRITTEN, dtype_of
from workers.sources import RecordingUsageSources
from workers.stripe_api import RecordingStripeApi
from workers.stripe_api.api import Summary
from workers.targets import Rows

HOUR = timedelta(hours=1)
AT = 1_795_253_400 - 2 * 3600
"""When the usage of the submission was: half past an hour that is over."""
START = datetime.fromtimestamp(AT // 3600 * 3600, UTC)
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

    def counts(self, value: str, *, customer: str = "cus_1", later: timedelta = timedelta(0), meter: str = "mtr_1") -> None:
        summary = Summary(START + later, START + later + HOUR, Decimal(value))
        self.stripe.summaries.setdefault((meter, customer), []).append(summary)

    def sender_writes(self, value: str, *, at: object = AT + 60, **cells: str) -> None:
        changes = {"timestamp": str(at), "payload_value": value, "identifier": "x-1", **cells}
        row = some_usage(1).drop("message", "@quantity", strict=False).with_columns(
            *(pl.lit(text).alias(name) for name, text in changes.items()),
            pl.lit(self.clock(), dtype_of(WRITTEN)).alias(WRITTEN),
        )
        self.context = replace(self.context, sources=RecordingUsageSources(row))

    def another_case_sends(self, *, at: int = AT + 60) -> None:
        other = Book(self.context, 1, key="import_set:impset_2")
        other.frame = other.frame.with_columns(timestamp=pl.lit(str(at)), identifier=pl.lit("other"))
        other.send([0])

    def same_case_learns(self, value: str) -> None:
        newer = some_usage(1, first=7).with_columns(timestamp=pl.lit(str(AT + 60)), payload_value=pl.lit(value))
        self.book.frame = pl.concat([self.book.frame, self.book.frame.with_columns(
            pl.lit(1, pl.Int64).alias(RECORD), *(newer[name].alias(name) for name in ("timestamp", "payload_value", "identifier"))
        )])  # fmt: skip
        self.book.move(EntryKind.SEEN, [1])
        self.book.move(EntryKind.QUARANTINED, [1], reason="ambiguous_value")

    def meters_are(self, **changes: object) -> None:
        self.stripe.meters = [METER | changes]

    def stopped(self) -> list[str]:
        case = self.context.ledger.cases.get(self.book.case_id)
        [submission] = self.context.ledger.submissions.of_case(self.book.case_id)
        assert case is not None
        return [one.reason for one in LastLook(self.context, case, submission)(Rows(0, 1))]


@pytest.fixture
def way(sqlite_ledger: Ledger, tmp_path: Path, clock: FrozenClock) -> Way:
    stripe = RecordingStripeApi(meters=[dict(METER)])
    context = a_context(sqlite_ledger, tmp_path, clock, stripe=stripe)
    book = Book(context, 0)
    book.frame = Book(context, 1, key="import_set:sample").frame.with_columns(timestamp=pl.lit(str(AT)))
    book.move(EntryKind.SEEN, [0])
    book.send([0])
    return Way(context, stripe, clock, book)


Happens = Callable[[Way], object]

NEWER: dict[str, Happens] = {
    "Stripe has counted more": lambda way: way.counts("140"),
    "Stripe has counted less": lambda way: way.counts("0.4"),
    "Stripe has counted nothing used": lambda way: way.counts("0"),
    "Stripe has counted below nothing": lambda way: way.counts("-0.5"),
    "Stripe has counted the value and another": lambda way: (way.counts("0.5"), way.counts("7")),
    "the sender has written a later value": lambda way: way.sender_writes("140"),
    "the sender has written a value in the last second": lambda way: way.sender_writes("140", at=AT // 3600 * 3600 + 3599),
    "the sender has written another value of the second": lambda way: way.sender_writes("140", at=AT),
    "the sender has written a value that nobody can read": lambda way: way.sender_writes("about ten"),
    "the sender has written a value in milliseconds": lambda way: way.sender_writes("140", at=f"{AT + 60}000"),
    "the sender has written a value with its time as text": lambda way: way.sender_writes("140", at=f"{START:%Y-%m-%dT%H}:59:00Z"),
    "the sender has mended the very row": lambda way: way.sender_writes("140", at=AT, identifier="u0"),
    "another case of ours has filled the window": Way.another_case_sends,
    "another case of ours has filled it with an older value": lambda way: way.another_case_sends(at=AT - 60),
    "a newer value was refused and cannot be read": lambda way: way.same_case_learns("about ten"),
    "a newer value was refused and waits": lambda way: way.same_case_learns("140"),
    "the meter keeps a value a day by now": lambda way: (
        way.meters_are(event_time_window="day"), way.counts("3", later=-3 * HOUR)
    ),
    "its plan is a day old": lambda way: way.clock.turn(hours=24),
}  # fmt: skip


@pytest.mark.parametrize("happens", NEWER.values(), ids=NEWER)
def test_a_value_that_is_not_the_latest_any_more_does_not_go(way: Way, happens: Happens) -> None:
    """The meter keeps what it receives last: our 0.5 would be billed for the 140 that the sender meant."""
    assert way.stopped() == []
    happens(way)
    assert way.stopped() in (["would_overwrite"], ["planned_long_ago"])


ELSE: dict[str, Happens] = {
    "Stripe has counted the very value": lambda way: way.counts("0.5"),
    "Stripe writes the value otherwise": lambda way: way.counts("0.500"),
    "Stripe has counted in the hour after": lambda way: way.counts("140", later=HOUR),
    "Stripe has counted in the hour before": lambda way: way.counts("140", later=-HOUR),
    "Stripe has counted another customer": lambda way: way.counts("140", customer="cus_2"),
    "Stripe has counted on another meter": lambda way: way.counts("140", meter="mtr_2"),
    "the sender has written an older value": lambda way: way.sender_writes("140", at=AT - 1),
    "the sender has written the value again": lambda way: way.sender_writes("0.50"),
    "the sender has written of the next hour": lambda way: way.sender_writes("140", at=AT // 3600 * 3600 + 3600),
    "the sender has written of another customer": lambda way: way.sender_writes("9", payload_stripe_customer_id="cus_2"),
    "the sender has written of another meter": lambda way: way.sender_writes("9", event_name="tokens"),
    "another case of ours has filled the next hour": lambda way: way.another_case_sends(at=AT + 3600),
    "Stripe was away for most of a day": lambda way: way.clock.turn(hours=23, minutes=59),
    "the meter adds up by now": lambda way: (way.meters_are(event_time_window=None), way.counts("140")),
}  # fmt: skip


@pytest.mark.parametrize("happens", ELSE.values(), ids=ELSE)
def test_what_does_not_concern_its_window_does_not_keep_a_value_back(way: Way, happens: Happens) -> None:
    """After every short outage a person would have to answer for usage that nothing speaks against."""
    happens(way)
    assert way.stopped() == []
