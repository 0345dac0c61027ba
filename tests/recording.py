"""Stand-ins for the adapters, each behind its Protocol: they answer from what they were given and remember it.

The contract tests of tests/integration play the same questions to each of them and to the real one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import polars as pl

from workers.alerts import Alert
from workers.kernel.clock import from_epoch, from_text, named_moment, to_text
from workers.kernel.errors import Permanent, Transient
from workers.kernel.jobqueue import CROWDED
from workers.kernel.money import UnitPrice
from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.schema import IDENTIFIER, SOURCE, WRITTEN, empty_frame
from workers.records.validation import Standard
from workers.sources.facts import of_names
from workers.sources.protocol import (
    ROW_AT,
    Candidate,
    Candidates,
    FoundUsage,
    carriers,
    concerned,
    gone,
    same_usage,
    wanted,
    written_later,
)
from workers.stripe_api.errors import NotFound, permission
from workers.stripe_api.protocol import Customer, Grouping, Json, MeterEventReceipt, Summary
from workers.targets import Outgoing, Progress, Sent


class Call(NamedTuple):
    """One call: the method's name, what it was about, and for which account."""

    method: str
    subject: str
    account: str | None


@dataclass
class RecordingStripeApi:
    """Canned answers; `call` lists what was asked.

    `meter_events` fills with what was recorded, by identifier; a second one of the same identifier is refused as
    Stripe refuses it. `refuse` maps identifiers to the error object that Stripe answers instead. `own_id` is the
    key's own account, `time` what Stripe's clock shows. `prices` are those of a meter's id, `periods` the ends of
    customers' periods, `denied` the paths among these two that the key may not ask for.
    """

    events: list[Json] = field(default_factory=list)
    meters: list[Json] = field(default_factory=list)
    customers: list[Json] = field(default_factory=list)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    summaries: dict[tuple[str, str], list[Summary]] = field(default_factory=dict)
    refuse: dict[str, Json] = field(default_factory=dict)
    meter_events: dict[str, Json] = field(default_factory=dict)
    prices: dict[str, list[UnitPrice]] = field(default_factory=dict)
    periods: dict[str, datetime] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    own_id: str | None = None
    time: datetime | None = None
    calls: list[Call] = field(default_factory=list)

    def own_account(self) -> str | None:
        return self.own_id

    def told_time(self) -> datetime | None:
        return self.time

    def fetch_event(self, event_id: str, account: str | None) -> Json:
        self._note("fetch_event", event_id, account)
        return self._event(event_id, "v2.core.event")

    def snapshot_events(self, types: Collection[str], since: datetime, account: str | None) -> Iterator[Json]:
        self._note("snapshot_events", ",".join(sorted(types)), account)
        wanted = (event for event in self.events if event["object"] == "event" and event["type"] in types)
        return iter(
            sorted((e for e in wanted if e["created"] >= int(since.timestamp())), key=lambda e: e["created"])
        )

    def thin_events(self, types: Collection[str], since: datetime, account: str | None) -> Iterator[Json]:
        self._note("thin_events", ",".join(sorted(types)), account)
        wanted = (event for event in self.events if event["object"] == "v2.core.event" and event["type"] in types)
        return iter(
            sorted((e for e in wanted if from_text(e["created"]) >= since), key=lambda e: from_text(e["created"]))
        )

    def fetch_meter(self, meter_id: str, account: str | None) -> Json | None:
        self._note("fetch_meter", meter_id, account)
        return next((meter for meter in self.meters if meter["id"] == meter_id), None)

    def list_meters(self, account: str | None) -> list[Json]:
        self._note("list_meters", "", account)
        return list(self.meters)

    def meter_prices(self, meter_id: str, account: str | None) -> Sequence[UnitPrice]:
        self._note("meter_prices", meter_id, account)
        self._require("/v1/prices")
        return self.prices.get(meter_id, [])

    def period_end(self, customer: str, account: str | None) -> datetime | None:
        self._note("period_end", customer, account)
        self._require("/v1/subscriptions")
        return self.periods.get(customer)

    def find_customers(self, ids: Collection[str], account: str | None) -> Mapping[str, Customer]:
        self._note("find_customers", ",".join(sorted(ids)), account)
        return {
            one["id"]: Customer(named_moment(one.get("created")), deleted=bool(one.get("deleted")))
            for one in self.customers
            if one["id"] in ids
        }

    def search_customers(self, key: str, value: str, account: str | None) -> list[str]:
        self._note("search_customers", f"{key}={value}", account)
        return [one["id"] for one in self.customers if one.get("metadata", {}).get(key) == value]

    def file_name(self, file_id: str, account: str | None) -> str | None:
        self._note("file_name", file_id, account)
        return self._file(file_id)[0]

    def download_file(self, file_id: str, account: str | None, into: Path, max_bytes: int) -> None:
        self._note("download_file", file_id, account)
        contents = self._file(file_id)[1]
        if len(contents) > max_bytes:
            raise Permanent(f"{file_id}: larger than {max_bytes} bytes")
        into.write_bytes(contents)

    def event_summaries(
        self,
        meter_id: str,
        customer: str,
        start: datetime,
        end: datetime,
        account: str | None,
        grouping: Grouping | None = None,
    ) -> Sequence[Summary]:
        self._note("event_summaries", f"{meter_id} {customer} {grouping or ''}".rstrip(), account)
        known = self.summaries.get((meter_id, customer), [])
        return [summary for summary in known if summary.end > start and summary.start < end]

    def create_meter_event(
        self, event: Mapping[str, Any], idempotency_key: str, account: str | None
    ) -> MeterEventReceipt:
        identifier = event["identifier"]
        self._note("create_meter_event", identifier, account)
        if identifier in self.refuse:
            return MeterEventReceipt(self.refuse[identifier])
        if self.meter_events.setdefault(identifier, {**event, "key": idempotency_key})["key"] != idempotency_key:
            message = f"An event already exists with identifier {identifier}."
            return MeterEventReceipt({"type": "invalid_request_error", "message": message})
        return MeterEventReceipt(None)

    def stream_meter_events(self, events: Sequence[Mapping[str, Any]], account: str | None) -> MeterEventReceipt:
        """Record as the stream does: what is known is passed over, and what is refused is not told."""
        self._note("stream_meter_events", ",".join(event["identifier"] for event in events), account)
        for event in events:
            if event["identifier"] not in self.refuse:
                self.meter_events.setdefault(event["identifier"], {**event, "key": None})
        return MeterEventReceipt(None)

    def cancel_meter_event(self, event_name: str, identifier: str, account: str | None) -> Json:
        self._note("cancel_meter_event", identifier, account)
        if self.meter_events.pop(identifier, None) is None:
            raise NotFound(f"{identifier}: nothing to cancel", {"code": "resource_missing"})
        return {"object": "billing.meter_event_adjustment", "event_name": event_name, "status": "pending"}

    def _note(self, method: str, subject: str, account: str | None) -> None:
        self.calls.append(Call(method, subject, account))

    def _require(self, path: str) -> None:
        if path in self.denied:
            raise Permanent(f"{path}: Stripe answered 403 - allow the key in STRIPE_API_KEY: {permission(path)}")

    def _event(self, event_id: str, kind: str) -> Json:
        found = next((e for e in self.events if e["id"] == event_id and e["object"] == kind), None)
        if found is None:
            raise NotFound(f"{event_id}: no such event", {"code": "resource_missing"})
        return found

    def _file(self, file_id: str) -> tuple[str, bytes]:
        if file_id not in self.files:
            raise NotFound(f"{file_id}: no such file", {"code": "resource_missing"})
        return self.files[file_id]


@dataclass
class RecordingUsageSources:
    """Holds one canonical frame of usage, with `WRITTEN` where known, and whole files by base name."""

    records: pl.DataFrame = field(default_factory=empty_frame)
    files: Mapping[str, Path] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def find(self, identifiers: Collection[str] | pl.Series) -> FoundUsage:
        """Look records up in the frame."""
        looked_up = wanted(identifiers)
        self.asked.append(tuple(looked_up))
        return FoundUsage(carriers([self.records.filter(pl.col(IDENTIFIER).is_in(looked_up.implode()))]))

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        """Yield rows of the frame."""
        yield self.records.filter(concerned(event_names, start, end))

    def candidates(self, event_names: Collection[str] | None, start: datetime, end: datetime) -> Candidates:
        """Tell of the files that the frame's rows come from."""
        told = self.records.filter(of_names(event_names) & pl.col(WRITTEN).is_between(start, end))
        files = told.group_by(SOURCE, WRITTEN).len().sort(WRITTEN, SOURCE).rows()
        return Candidates([Candidate(name, to_text(written), written, rows) for name, written, rows in files])

    def rows_of(self, candidate: Candidate, event_names: Collection[str] | None) -> Iterator[pl.DataFrame]:
        """Yield the rows of one file of the frame."""
        of_file = (pl.col(SOURCE) == candidate.location) & (pl.col(WRITTEN) == candidate.written)
        if not self.records.select(of_file.any()).item():
            raise gone(candidate)
        yield self.records.filter(of_file & of_names(event_names))

    def doubtful(self, candidate: Candidate, event_name: str, standard: Standard) -> Iterator[pl.DataFrame]:
        """Yield all rows: none of the frame is known to be clean."""
        del standard
        yield from self.rows_of(candidate, [event_name])

    def customers(self, candidate: Candidate, event_name: str, catalog: Catalog) -> pl.Series:
        """Return the customers of one file of the frame."""
        [rows] = self.rows_of(candidate, [event_name])
        return catalog.resolve(rows)[CUSTOMER_ID].drop_nulls().unique()

    def earlier(self, records: pl.DataFrame, before: datetime, but: Collection[str]) -> pl.DataFrame:
        """Look the same usage up in the frame; its files have no addresses."""
        del but
        rows = carriers([self.records]).filter(pl.col(WRITTEN) < before)
        return rows[same_usage(records, rows)[ROW_AT].unique().sort()]

    def copies(self, path: Path) -> frozenset[str]:
        """Tell of none: the frame is no file."""
        del path
        return frozenset()

    def file(self, name: str, by: datetime) -> Path | None:
        """Return a whole file by its base name."""
        path = self.files.get(PurePosixPath(name).name)
        written = from_epoch(path.stat().st_mtime) if path else None
        if path and written and written > by:
            raise written_later(str(path), written, by)
        return path

    def prepare(self, seconds: float) -> int:
        """Leave nothing to be done."""
        del seconds
        return 0


@dataclass
class RecordingTarget:
    """A target that accepts everything and remembers it; a second try of a submission is not recorded twice."""

    name: str = "recording"
    at_once: bool = True
    sent: dict[str, Outgoing] = field(default_factory=dict)

    def lies_there(self, name: str) -> bool:
        """Nothing waits to be read."""
        del name
        return False

    def keep_pace(self) -> None:
        """Let everything go at once."""

    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        del progress
        self.sent.setdefault(outgoing.submission_id, outgoing)
        return Sent(location=f"{self.name}:{outgoing.submission_id}", accepted=outgoing.records)


@dataclass
class RecordingAlerts:
    """Remembers what was posted."""

    channel: str = "recording"
    posted: list[Alert] = field(default_factory=list)

    def post(self, alert: Alert, earlier: str | None = None) -> str | None:
        del earlier
        self.posted.append(alert)
        return None


class RecordingJobQueue:
    """Keeps what was enqueued in lists. `away` makes it answer as if Redis were down."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.events: list[tuple[str, int]] = []
        self.large_events: list[tuple[str, int]] = []
        self.cases: list[tuple[str, int, bool]] = []
        self.acts: list[tuple[str, int]] = []

    def enqueue_event(self, event_id: str, attempt: int, *, large: bool = False) -> None:
        self.ping()
        queue = self.large_events if large else self.events
        if (event_id, attempt) not in queue:
            queue.append((event_id, attempt))

    def enqueue_new(self, event_ids: Sequence[str], *, large: bool = False) -> None:
        room = max(CROWDED - self.waiting(large=large), 0)
        for event_id in event_ids[:room]:
            self.enqueue_event(event_id, 0, large=large)

    def waiting(self, *, large: bool = False) -> int:
        self.ping()
        of_cases = sum(is_large is large for _, _, is_large in self.cases)
        return len(self.large_events if large else self.events) + of_cases

    def enqueue_case(self, case_id: str, version: int, *, large: bool = False) -> None:
        self.ping()
        if (case_id, version, large) not in self.cases:
            self.cases.append((case_id, version, large))

    def enqueue_act(self, act_id: str, approvals: int) -> None:
        self.ping()
        self.acts.append((act_id, approvals))

    def ping(self) -> None:
        if self.away:
            raise Transient("the job queue does not answer")
