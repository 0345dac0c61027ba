"""Stripe's own lists of events, for taking in what was never delivered: every page, oldest first.

Stripe lists newest first. The time since the last look is cut into days, and each day is put in order, so that a
month of events never lies in memory and whoever stops in the middle has missed nothing before that point.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from workers.kernel.clock import Clock
from workers.kernel.errors import Permanent
from workers.stripe_api.call import PAGE, Calls, v1_pages, v2_pages
from workers.stripe_api.protocol import Json

RETENTION: Final = timedelta(days=30)
"""How long Stripe lists events (Stripe docs, "Event destinations")."""
MAX_TYPES: Final = 20
_SLICE: Final = timedelta(days=1)


def events(
    calls: Calls, clock: Clock, types: Collection[str], since: datetime, account: str | None, *, thin: bool
) -> Iterator[Json]:
    """Yield snapshot events, or thin ones with their data (Stripe docs, "List all events", v1 and v2)."""
    pages, path, written = (
        (v2_pages, "/v2/core/events", _rfc3339) if thin else (v1_pages, "/v1/events", _epoch_seconds)
    )
    for start, end in _slices(since, min(clock(), calls.told_time or clock())):
        created = {"gte": written(start)} | ({"lt": written(end)} if end else {})
        params = {"types": _checked(types), "created": created, "limit": PAGE}
        yield from _in_order(pages(calls, path, params, account))


def _slices(since: datetime, now: datetime) -> Iterator[tuple[datetime, datetime | None]]:
    """Yield (start, end) of whole seconds; the last has no end, so that a clock that is behind hides nothing."""
    start = max(since, now - RETENTION).astimezone(UTC).replace(microsecond=0)
    while start + _SLICE < now:
        yield start, start + _SLICE
        start += _SLICE
    yield start, None


def _in_order(events: Iterator[Json]) -> list[Json]:
    oldest_first = list(events)[::-1]
    return sorted(oldest_first, key=lambda event: event["created"])


def _checked(types: Collection[str]) -> list[str]:
    if not 0 < len(types) <= MAX_TYPES:
        raise Permanent(f"Stripe lists events of 1 to {MAX_TYPES} types at a time, not of {len(types)}")
    return sorted(types)


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch_seconds(moment: datetime) -> int:
    return int(moment.timestamp())
