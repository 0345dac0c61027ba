"""Cases with real books and record sets, for tests of what reads or continues them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tests.builders import a_failure, open_case
from tests.recording import (
    RecordingAlerts,
    RecordingJobQueue,
    RecordingStripeApi,
    RecordingTarget,
    RecordingUsageSources,
)
from workers.archive import Archive
from workers.kernel.clock import Clock
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import ROUTES, Bucket, EntryKind, RecordSetRef
from workers.kernel.ledger.submissions import Intent
from workers.kernel.settings import load
from workers.kernel.storage import open_store
from workers.pipeline.context import Context, Stores
from workers.pipeline.examples import with_examples
from workers.pipeline.record_sets import DATA, RECORD, REVISION, keep, movement, numbered, records_in
from workers.records.schema import (
    EVENT_NAME,
    IDENTIFIER,
    MESSAGE,
    QUANTITY,
    REASON,
    ROW,
    SOURCE,
    TIMESTAMP,
    UNREADABLE,
)
from workers.remedies import Rules

LEASE = timedelta(minutes=5)
EVENT = "evt_1"


def a_context(ledger: Ledger, folder: Path, clock: Clock, **changes: Any) -> Context:
    """A context on a real ledger and archive, with recording adapters."""
    parts: dict[str, Any] = {
        "settings": load({"scratch_dir": folder / "scratch", "archive_url": str(folder / "archive")}),
        "ledger": ledger,
        "queue": RecordingJobQueue(),
        "stripe": RecordingStripeApi(),
        "sources": RecordingUsageSources(),
        "archive": Archive(open_store(str(folder / "archive")), folder / "scratch"),
        "target": RecordingTarget(),
        "alerts": RecordingAlerts(),
        "rules": Rules(),
        "clock": clock,
    }
    return Context(**{**parts, **changes})


def some_usage(count: int, *, first: int = 0, at: int = 1_795_253_400) -> pl.DataFrame:
    """Refused usage: record n has the identifier `u{n}` and the quantity n + 0.5."""
    rows = range(first, first + count)
    return pl.DataFrame(
        {
            IDENTIFIER: [f"u{n}" for n in rows],
            TIMESTAMP: [str(at - n) for n in rows],
            EVENT_NAME: ["api_calls"] * count,
            "payload_stripe_customer_id": ["cus_1"] * count,
            "payload_value": [f"{n}.5" for n in rows],
            ROW: [n + 1 for n in rows],
            SOURCE: ["usage.csv"] * count,
            UNREADABLE: [None] * count,
            MESSAGE: ["refused"] * count,
            QUANTITY: [f"{n}.5" for n in rows],
        },
        schema_overrides={UNREADABLE: pl.String, ROW: pl.Int64},
    )


class Book:
    """One case, and the record sets that a test moves through its journal."""

    def __init__(self, context: Context, count: int = 6, **failure: Any) -> None:
        self.context = context
        self.case_id = open_case(context.ledger, a_failure(**failure)).id
        self.frame = numbered(some_usage(count), first=0, refused_as=DATA)
        if count:
            self.move(EntryKind.SEEN, range(count), event_id=EVENT)

    def keep(self, records: Sequence[int], **columns: str) -> RecordSetRef:
        """Keep a record set of these records, with columns set to one value each."""
        chosen = self.frame.filter(pl.col(RECORD).is_in(list(records)))
        return keep(
            self.context, self.case_id, "moved", chosen.with_columns(**{n: pl.lit(v) for n, v in columns.items()})
        )

    def move(
        self,
        kind: EntryKind,
        records: Sequence[int],
        *,
        route: int = 0,
        reason: str | None = None,
        detail: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Move records along one of the routes of `kind`."""
        ref = self.keep(records, **({REASON: reason} if reason else {}))
        with self.held() as held, held.transaction() as transaction:
            moved = movement(self.context, kind, ROUTES[kind][route], ref, detail=detail)
            transaction.move(replace(with_examples(self.context, moved), **fields))

    def send(self, records: Sequence[int], **intent: Any) -> str:
        """Plan, intend and send records as one submission; return its id. `intent` is as `intend` takes it."""
        submission_id = self.intend(records, **intent)
        with self.held() as held, held.transaction() as transaction:
            sent = movement(self.context, EntryKind.SENT, (None, None), self.keep(records))
            transaction.move(replace(sent, submission_id=submission_id))
            transaction.submissions.sent(submission_id, "recording", self.context.clock() + timedelta(minutes=30))
        return submission_id

    def intend(
        self,
        records: Sequence[int],
        *,
        ordinal: int = 1,
        target: str = "recording",
        totals: Mapping[str, Any] | None = None,
    ) -> str:
        """Plan records and intend them as one submission; return its id. The intent says `totals`."""
        submission_id = f"{self.case_id}-{ordinal}"
        self.frame = self.frame.with_columns(
            pl.when(pl.col(RECORD).is_in(list(records)))
            .then(pl.col(REVISION) + 1)
            .otherwise(REVISION)
            .alias(REVISION)
        )
        self.move(EntryKind.PLANNED, records)
        ref = self.keep(records)
        intended = replace(
            movement(self.context, EntryKind.INTENDED, (Bucket.PLANNED, Bucket.SUBMITTED), ref, detail=totals),
            submission_id=submission_id,
        )
        intent = Intent(submission_id, ordinal, target, intended.records, intended.quantity, ("api_calls",), ref)
        with self.held() as held:
            last_turn = self.context.ledger.submissions.last_turn(held.case.failure.account)
            with held.transaction() as transaction:
                transaction.submissions.intend(intent, last_turn)
                transaction.move(intended)
        return submission_id

    def confirm(self, records: Sequence[int], submission_id: str) -> None:
        """Confirm records of a submission and settle it."""
        ref = self.keep(records)
        confirmed = movement(self.context, EntryKind.CONFIRMED, (Bucket.SUBMITTED, Bucket.CONFIRMED), ref)
        with self.held() as held, held.transaction() as transaction:
            transaction.move(replace(confirmed, submission_id=submission_id))
            transaction.submissions.settled(submission_id)

    def held(self) -> Any:
        return self.context.ledger.cases.hold(self.case_id, "test", LEASE)

    def balance(self, bucket: Bucket) -> int:
        """How many records stand in a bucket."""
        case = self.context.ledger.cases.get(self.case_id)
        assert case is not None
        return case.balance[bucket].records


def records_of(books: Stores, case_id: str, bucket: Bucket) -> pl.LazyFrame | None:
    """Return the records of a case that stand in a bucket, by its journal as it is now."""
    return records_in(books, books.ledger.queries.entries(case_id), bucket)


def counted_by_window(ledger: Ledger, case: Case) -> list[tuple[str, int]]:
    """The windows that a case's journal has counted, by the key of the failure that each would be, with records."""
    seen = [entry for entry in ledger.queries.entries(case.id) if entry.kind == EntryKind.SEEN]
    return [(entry.detail.get("window", case.failure.key), entry.records) for entry in seen]
