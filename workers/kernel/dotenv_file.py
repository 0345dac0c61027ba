"""The `.env` file, looked at line by line: what python-dotenv cannot parse, it leaves out without an error."""

from collections.abc import Iterator
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from workers.kernel.errors import SettingsUnusable


def faults(path: Path) -> list[SettingsUnusable]:
    """Return what is wrong with the file, by line number; a line's text may be a secret and is not shown."""
    try:
        return [
            SettingsUnusable(
                f"line {_line(binding)} is not NAME=value",
                where=str(path),
                mend="mend the line; a value with blanks, # or quotes goes in single quotes",
            )
            for binding in _bindings(path)
            if binding.error or (binding.key is not None and binding.value is None)
        ]
    except (OSError, UnicodeDecodeError) as error:
        return [SettingsUnusable(f"cannot be read: {error}", where=str(path), mend="make it readable, in UTF-8")]


def names(path: Path) -> list[str]:
    """Return the names that the file sets; none where it cannot be read."""
    try:
        return [binding.key for binding in _bindings(path) if binding.key]
    except (OSError, UnicodeDecodeError):
        return []


def _bindings(path: Path) -> Iterator[Binding]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        yield from parse_stream(file)


def _line(binding: Binding) -> int:
    """Return the line on which the statement stands: python-dotenv counts from the blank lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
