"""Stripe itself, by the address in the settings."""

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from workers.kernel.clock import Clock, from_epoch, utc_now
from workers.kernel.errors import Permanent
from workers.kernel.logs import get_logger
from workers.kernel.money import UnitPrice
from workers.kernel.settings import Settings
from workers.stripe_api import billing, customers, downloads
from workers.stripe_api.call import PAGE, Calls, Post, Sleep, v1_pages, v2_pages
from workers.stripe_api.errors import BadRequest, NotFound
from workers.stripe_api.pace import Limits
from workers.stripe_api.protocol import Customer, Grouping, Json, MeterEventReceipt, Summary
from workers.stripe_api.stream import MeterEventStream

_log = get_logger(__name__)

RETENTION: Final = timedelta(days=30)
"""How long Stripe lists events (Stripe docs, "Event destinations")."""
MAX_TYPES: Final = 20
_SLICE: Final = timedelta(days=1)
_GRAIN: Final[Mapping[Grouping | None, int]] = {None: 60, "hour": 3600, "day": 86400}


class LiveStripeApi:
    """Stripe's API. Safe for several threads; build one in each process, after any fork, and close it.

    Raises SettingsUnusable when there is no API key.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        clock: Clock = utc_now,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._calls = Calls(settings, limits, sleep)
        self._stream = MeterEventStream(self._calls, clock)
        self._files_base = settings.stripe_files_base
        self._clock = clock
        self._own_account: list[str | None] = []

    def own_account(self) -> str | None:
        if not self._own_account:
            try:
                found = self._calls.get("/v1/account", {}, None).get("id")
            except Permanent as refusal:
                _log.warning("own_account_unknown", reason=str(refusal))
                found = None
            self._own_account.append(found)
        return self._own_account[0]

    def told_time(self) -> datetime | None:
        return self._calls.told_time

    def fetch_event(self, event_id: str, account: str | None) -> Json:
        return self._calls.get(f"/v2/core/events/{_part(event_id)}", {}, account)

    def snapshot_events(self, types: Collection[str], since: datetime, account: str | None) -> Iterator[Json]:
        return self._events(types, since, account, thin=False)

    def thin_events(self, types: Collection[str], since: datetime, account: str | None) -> Iterator[Json]:
        return self._events(types, since, account, thin=True)

    def _events(
        self, types: Collection[str], since: datetime, account: str | None, *, thin: bool
    ) -> Iterator[Json]:
        """Yield events, thin ones with their data (Stripe docs, "List all events", v1 and v2), oldest first.

        Stripe lists newest first. The time since the last look is cut into days, and each day is put in order, so
        that a month of events never lies in memory and whoever stops in the middle has missed nothing before.
        """
        if not 0 < len(types) <= MAX_TYPES:
            raise Permanent(f"Stripe lists events of 1 to {MAX_TYPES} types at a time, not of {len(types)}")
        pages, path, written = (
            (v2_pages, "/v2/core/events", _rfc3339) if thin else (v1_pages, "/v1/events", _epoch_seconds)
        )
        for start, end in _slices(since, min(self._clock(), self._calls.told_time or self._clock())):
            created = {"gte": written(start)} | ({"lt": written(end)} if end else {})
            params = {"types": sorted(types), "created": created, "limit": PAGE}
            oldest_first = list(pages(self._calls, path, params, account))[::-1]
            yield from sorted(oldest_first, key=lambda event: event["created"])

    def fetch_meter(self, meter_id: str, account: str | None) -> Json | None:
        try:
            return self._calls.get(f"/v1/billing/meters/{_part(meter_id)}", {}, account)
        except NotFound:
            return None

    def list_meters(self, account: str | None) -> list[Json]:
        return list(v1_pages(self._calls, "/v1/billing/meters", {"limit": PAGE}, account))

    def meter_prices(self, meter_id: str, account: str | None) -> Sequence[UnitPrice]:
        return billing.meter_prices(self._calls, meter_id, account)

    def period_end(self, customer: str, account: str | None) -> datetime | None:
        return billing.period_end(self._calls, customer, account)

    def find_customers(self, ids: Collection[str], account: str | None) -> Mapping[str, Customer]:
        return customers.find_customers(self._calls, ids, account)

    def search_customers(self, key: str, value: str, account: str | None) -> list[str]:
        return customers.search_customers(self._calls, key, value, account)

    def file_name(self, file_id: str, account: str | None) -> str | None:
        name: str | None = self._calls.get(f"/v1/files/{_part(file_id)}", {}, account).get("filename")
        return name

    def download_file(self, file_id: str, account: str | None, into: Path, max_bytes: int) -> None:
        downloads.download(self._calls, self._files_base, file_id, account, into, max_bytes)

    def event_summaries(
        self,
        meter_id: str,
        customer: str,
        start: datetime,
        end: datetime,
        account: str | None,
        grouping: Grouping | None = None,
    ) -> Sequence[Summary]:
        grain = _GRAIN[grouping]
        params: Json = {
            "customer": customer,
            "start_time": _down(start, grain),
            "end_time": max(_up(end, grain), _down(start, grain) + grain),
            "limit": PAGE,
        } | ({"value_grouping_window": grouping} if grouping else {})
        path = f"/v1/billing/meters/{_part(meter_id)}/event_summaries"
        return [_summary(found) for found in v1_pages(self._calls, path, params, account)]

    def create_meter_event(
        self, event: Mapping[str, Any], idempotency_key: str, account: str | None
    ) -> MeterEventReceipt:
        post = Post(self._calls, "/v1/billing/meter_events", event, account, idempotency_key)
        try:
            self._calls.persist(post, self._calls.paces.meter_events)
        except BadRequest as refusal:
            return MeterEventReceipt(refusal.error, post.unanswered)
        return MeterEventReceipt(None, post.unanswered)

    def stream_meter_events(self, events: Sequence[Mapping[str, Any]], account: str | None) -> MeterEventReceipt:
        return self._stream.send(events, account)

    def cancel_meter_event(self, event_name: str, identifier: str, account: str | None) -> Json:
        params = {"type": "cancel", "event_name": event_name, "cancel": {"identifier": identifier}}
        key = f"metermend-cancel-{sha256(identifier.encode()).hexdigest()}"
        post = Post(self._calls, "/v1/billing/meter_event_adjustments", params, account, key)
        return self._calls.persist(post, self._calls.paces.basic)

    def close(self) -> None:
        self._calls.close()


def _part(name: str) -> str:
    return quote(name, safe="")


def _summary(found: Json) -> Summary:
    return Summary(
        from_epoch(found["start_time"]), from_epoch(found["end_time"]), Decimal(found["aggregated_value"])
    )


def _down(moment: datetime, grain: int) -> int:
    return int(moment.timestamp()) // grain * grain


def _up(moment: datetime, grain: int) -> int:
    return math.ceil(moment.timestamp() / grain) * grain


def _slices(since: datetime, now: datetime) -> Iterator[tuple[datetime, datetime | None]]:
    """Yield (start, end) of whole seconds; the last has no end, so that a clock that is behind hides nothing."""
    start = max(since, now - RETENTION).astimezone(UTC).replace(microsecond=0)
    while start + _SLICE < now:
        yield start, start + _SLICE
        start += _SLICE
    yield start, None


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch_seconds(moment: datetime) -> int:
    return int(moment.timestamp())
