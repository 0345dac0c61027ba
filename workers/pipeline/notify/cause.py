"""What a case has in common with its likes: what is refused for one cause is told as one incident."""

import re
from typing import Final

from workers.kernel.ledger.case import VALIDATION_REPORT, Failure

_NUMBERS: Final = re.compile(r"\d+(?:[-_.:T]?\d+)*")
"""A number, date or time, as it stands in the name of an hour's file or names a row."""
_NAMELESS: Final = re.compile(r"\bimpset_\w+")
"""An import set in the place of its file's name."""


def cause_of(failure: Failure) -> str:
    """Return the cause of a failure: the code and the meter, or what was wrong with files of such a name."""
    if failure.kind == VALIDATION_REPORT:
        return f"{failure.code} on {failure.meter_id or failure.event_name}"
    return f"{failure.kind}: {pattern_of(failure.summary)}"


def pattern_of(summary: str) -> str:
    """Return what is said of a file as it may be said of its likes: `usage-2026-11-28.csv` is `usage-*.csv`."""
    return _NUMBERS.sub("*", _NAMELESS.sub("impset_*", summary))
