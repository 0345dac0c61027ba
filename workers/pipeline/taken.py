"""What came of taking an event in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Taken:
    """The cases that an event leads to, or why it leads to none."""

    case_ids: tuple[str, ...] = ()
    ignored: str | None = None
