"""A meter events API in memory that fails on order, and a progress that survives what kills the sender."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl

from workers.kernel.errors import Transient
from workers.stripe_api import MeterEventReceipt
from workers.targets import Chunk, Outgoing, Rows, Withheld


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Stripe:
    """Remembers keys and identifiers for ever. `orders` names what happens at the n-th call about an identifier.

    `down`: not taken in, no answer. `lost`: taken in, no answer. `crash`: taken in, and the caller dies.
    `crash_before`: the caller dies first. `bad`: a 400.
    """

    orders: dict[tuple[str, int], str] = field(default_factory=dict)
    recorded: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    taken: list[str] = field(default_factory=list)
    events: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    busy: Counter[tuple[str, str]] = field(default_factory=Counter)
    overlaps: int = 0
    seconds: float = 0.0
    forgets_keys: bool = False
    _keys: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def create_meter_event(
        self, event: Mapping[str, Any], idempotency_key: str, account: str | None
    ) -> MeterEventReceipt:
        lane = (event["event_name"], event["payload"].get("stripe_customer_id", ""))
        with self._lock:
            self.busy[lane] += 1
            self.overlaps += self.busy[lane] > 1
        time.sleep(self.seconds)
        try:
            return self._answer(event, idempotency_key)
        finally:
            with self._lock:
                self.busy[lane] -= 1

    def _answer(self, event: Mapping[str, Any], key: str) -> MeterEventReceipt:
        identifier = event["identifier"]
        with self._lock:
            self.asked[identifier] += 1
            order = self.orders.get((identifier, self.asked[identifier]), "")
            if order == "down":
                raise Transient("no answer")
            if order == "crash_before":
                raise Crash
            if order == "bad":
                return MeterEventReceipt({"code": None, "message": "Customer mapping key x not found in payload."})
            if key not in self._keys or self.forgets_keys:
                if identifier in self.taken or self.recorded[identifier]:
                    message = f"An event already exists with identifier {identifier}."
                    return MeterEventReceipt({"message": message})
                self._keys.add(key)
                self.recorded[identifier] += 1
                self.events[identifier] = event
            if order == "lost":
                raise Transient("no answer")
            if order == "crash":
                raise Crash
            return MeterEventReceipt(None)


@dataclass
class Kept:
    """A progress in memory, with a clock to turn. `stopped` names what must not go any more, and why."""

    now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)
    known: dict[int, Chunk] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)

    def chunks(self) -> Mapping[int, Chunk]:
        return dict(self.known)

    def may_not_go(self, rows: Rows) -> tuple[Withheld, ...]:
        names = [f"id-{number}~r2" for number in range(rows.first, rows.first + rows.records)]
        return tuple(Withheld(name, self.stopped[name], "look") for name in names if name in self.stopped)

    def intend(self, number: int, rows: Rows, withheld: tuple[Withheld, ...]) -> None:
        assert number not in self.known
        self.known[number] = Chunk(self.now, None, withheld)

    def finish(self, number: int, result: Any) -> None:
        self.known[number] = replace(self.known[number], result=result)


def outgoing(folder: Path, records: int, customers: int = 5, **columns: Any) -> Outgoing:
    """A submission of so many records, spread over customers."""
    frame = pl.DataFrame({
        "identifier": [f"id-{number}~r2" for number in range(records)],
        "timestamp": ["1795255578"] * records,
        "event_name": ["calls"] * records,
        "payload_stripe_customer_id": [f"cus_{number % customers}" for number in range(records)],
        "payload_value": ["0.10"] * records,
        "payload_region": ["eu" if number % 2 else None for number in range(records)],
        "@row": range(records),
    }).with_columns(**columns)  # fmt: skip
    path = folder / "set.parquet"
    frame.write_parquet(path)
    return Outgoing("case_1-1", None, path, records)
