"""Time as the product sees it: aware UTC datetimes, and RFC 3339 text where time is stored or shown."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC datetime. Passed in, so that tests and the demo can steer it."""

CLOCKS_DIFFER: Final = timedelta(hours=1)
"""How far two machines' clocks may differ; what lies further ahead was written by one that was wrong."""
STORE_AHEAD: Final = timedelta(minutes=1)
"""How far the clock by which a store dates its files may be ahead of another one."""
_YEARS: Final = range(1970, 9999)
"""The years of a time that somebody else names: some days before or after any of them there is still a time."""


def utc_now() -> datetime:
    """Return the machine's present."""
    return datetime.now(UTC)


def is_within(moment: datetime, span: timedelta, now: datetime) -> bool:
    """Tell whether a moment lies less than `span` before now, and no further ahead of it than clocks differ."""
    return -CLOCKS_DIFFER <= now - moment < span


def from_epoch(seconds: float) -> datetime:
    """Return the time that Stripe writes as epoch seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def to_text(moment: datetime) -> str:
    """Return RFC 3339 with microseconds and `Z`: sorts as text in the order of time."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_text(text: str) -> datetime:
    """Parse RFC 3339 text into aware UTC; a time without a zone is taken as UTC.

    Raises ValueError when `text` is not a time.
    """
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"not a time that can be told in UTC: {text}") from None


def named_moment(value: object) -> datetime | None:
    """Return the time that RFC 3339 text or epoch seconds name; None where there is none to reckon with."""
    moment = None
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, str):
            moment = from_text(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = from_epoch(value)
    return moment if moment is not None and moment.year in _YEARS else None
