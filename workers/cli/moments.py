"""Times and spans that are named on the command line."""

import re
from datetime import datetime, timedelta
from typing import Final

from workers.kernel.clock import from_text
from workers.kernel.errors import InputUnusable

_SPAN: Final = re.compile(r"(\d{1,6})(min|h|d)")
_UNITS: Final = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def moment(text: str, now: datetime, *, where: str, ahead: bool = False) -> datetime:
    """Return the time that is named: RFC 3339, or so long before now (`30min`, `36h`, `3d`), or `ahead` of it.

    Raises InputUnusable, which names the option `where`.
    """
    try:
        span = _SPAN.fullmatch(text)
        if span is None:
            return from_text(text)
        length = int(span[1]) * _UNITS[span[2]]
        return now + length if ahead else now - length
    except (ValueError, OverflowError):
        raise InputUnusable(
            f"{text!r} is no time", where=where, mend="e.g. 30min, 36h, 3d or 2026-11-20T00:00:00Z"
        ) from None


def span_text(span: timedelta) -> str:
    """Write a length of time in the unit that fits: `41 minutes`, `36 hours`, `12 days`."""
    seconds = int(span.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size or (unit == "minute" and seconds >= size):
            number = seconds // size
            return f"{number:,} {unit}{'' if number == 1 else 's'}"
    return "less than a minute"
