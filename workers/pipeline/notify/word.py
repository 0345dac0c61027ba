"""One thing that is to be said."""

from collections.abc import Callable
from dataclasses import dataclass

from workers.alerts import Alert


@dataclass(frozen=True)
class Word:
    """Something to be said. `said` writes down that it was, with the name of its message where that can be changed.

    `earlier` is the name of the message that it takes the place of. `in_full` makes the alert that is sent,
    where more has to be looked up for it than to tell what comes first.
    """

    alert: Alert
    said: Callable[[str | None], None]
    earlier: str | None = None
    in_full: Callable[[], Alert] | None = None
