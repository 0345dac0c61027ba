"""What is left of a text that named one customer: a mark in the place of his names, and all else as it was."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

ERASED: Final = "erased"
"""Stands where a customer's name stood."""
_SHORTEST: Final = 4
_UNLIKE_WORDS: Final = re.compile("cus_|(?=.*[A-Za-z])(?=.*[0-9@])")
_WITHIN: Final = "[A-Za-z0-9]"
"""What a name goes on with: cus_1 does not stand in cus_12, but in cus_1-2026."""


def is_unmistakable(name: str) -> bool:
    """Whether a name can be looked for in any text: a number may be a quantity, and letters alone a word."""
    return len(name) >= _SHORTEST and _UNLIKE_WORDS.match(name) is not None


@dataclass(frozen=True)
class Eraser:
    """Takes a customer's names out of texts, JSON and rows of tables.

    `names` are the customer's id at Stripe and what rules say that he is also called. `files` says which texts
    become which others on the way: names and digests of files that were written anew without him. A name that is
    like a word is looked for where customers stand alone; `boldly`, also in JSON that is about him, but for keys.
    """

    names: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    boldly: bool = False

    @cached_property
    def told(self) -> tuple[str, ...]:
        """The names that are looked for in any text."""
        return tuple(name for name in self.names if self.boldly or is_unmistakable(name))

    @property
    def words(self) -> str:
        """The names as alternatives of a regular expression, the longest first; without names nothing fits."""
        return "|".join(re.escape(name) for name in sorted(self.told, key=len, reverse=True)) or "[^\\s\\S]"

    @cached_property
    def _name(self) -> re.Pattern[str]:
        return re.compile(f"(?<!{_WITHIN})(?:{self.words})(?!{_WITHIN})")

    def is_named_in(self, text: str) -> bool:
        """Whether a text holds one of the names."""
        return self._name.search(text) is not None

    def text(self, text: str) -> str:
        """Return a text without the names, and with the names of the files of now."""
        for old, new in self.files.items():
            text = text.replace(old, new)
        return self._name.sub(ERASED, text)

    def value(self, value: Any) -> Any:
        """Return a text, bytes or plain JSON without the names, also where they are keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if isinstance(value, Mapping):
            return {name if self.boldly else self.value(name): self.value(part) for name, part in value.items()}
        return [self.value(part) for part in value] if isinstance(value, (list, tuple)) else value
