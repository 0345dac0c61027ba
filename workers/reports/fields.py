"""Reading fields of an event whose shape is not promised: what is odd is noted, never raised."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workers.kernel.clock import named_moment

_MAX_COUNT = 2**63 - 1
_LONGEST = 300
"""Characters of a sentence: what it repeats of an event may be of any length."""


class Fields:
    """Reads values of any shape and collects, in `oddities`, a sentence for each that is not as documented.

    A value that is absent or null is not odd by itself: it reads as None, or as empty.
    """

    def __init__(self) -> None:
        self.oddities: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep a sentence for the person who looks, once."""
        if sentence[:_LONGEST] not in self.oddities:
            self.oddities.append(sentence[:_LONGEST])

    def mapping(self, value: object, where: str) -> Mapping[str, Any]:
        """Return an object's fields; empty when there are none. An empty list counts as an empty object."""
        if isinstance(value, Mapping):
            return value
        if value is not None and value != []:
            self.note(f"{where} is {_kind(value)}, not an object")
        return {}

    def items(self, value: object, where: str) -> Sequence[Any]:
        """Return a list's items; empty when there are none."""
        if isinstance(value, list | tuple):
            return value
        if value is not None:
            self.note(f"{where} is {_kind(value)}, not a list")
        return ()

    def text(self, value: object, where: str) -> str | None:
        """Return text that can be stored anywhere; None when there is none or when it is blank."""
        if isinstance(value, str):
            clean = value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
            if clean != value:
                self.note(f"{where} holds characters that are no text")
            return clean if clean.strip() else None
        if value is not None:
            self.note(f"{where} is {_kind(value)}, not text")
        return None

    def count(self, value: object, where: str) -> int | None:
        """Return a number of things, also one that stands as text; None when there is none."""
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(_MAX_COUNT)):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT:
            return value
        if value is not None:
            self.note(f"{where} is no count")
        return None

    def moment(self, value: object, where: str) -> datetime | None:
        """Return the time that RFC 3339 text or epoch seconds name; None when there is none."""
        moment = named_moment(value)
        if value is not None and moment is None:
            self.note(f"{where} is no time")
        return moment

    def identity(self, value: object, where: str) -> str | None:
        """Return an id that stands alone or as the `id` of an expanded object."""
        if isinstance(value, Mapping):
            return self.text(value.get("id"), f"{where}.id")
        return self.text(value, where)


def _kind(value: object) -> str:
    names = {str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
