"""Time as the product sees it: aware UTC datetimes, and RFC 3339 text where time is stored or shown."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC datetime. Passed in, so that tests and the demo can steer it."""


def utc_now() -> datetime:
    """Return the machine's present."""
    return datetime.now(UTC)


def from_epoch(seconds: float) -> datetime:
    """Return the time that Stripe writes as epoch seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def to_text(moment: datetime) -> str:
    """Return RFC 3339 with microseconds and `Z`: sorts as text in the order of time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_text(text: str) -> datetime:
    """Parse RFC 3339 text into aware UTC; a time without a zone is taken as UTC.

    Raises ValueError when `text` is not a time.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
