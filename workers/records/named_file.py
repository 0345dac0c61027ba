"""Reading a small text file that the operator named: meters, customers, rules."""

from io import UnsupportedOperation
from pathlib import Path

from workers.kernel.errors import InputUnusable


def read_named(path: Path) -> str:
    """Return the file's text (UTF-8, its mark not counted). Raises InputUnusable in one line, without an errno."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputUnusable(why_not(error), where=str(path), mend="check the path and its permissions") from error
    except ValueError as error:
        raise InputUnusable("it is no UTF-8 text", where=str(path), mend="save it as UTF-8") from error


def why_not(error: OSError) -> str:
    """Say in words why a file cannot be opened, or be gone through more than once."""
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, UnsupportedOperation):
        return "it is a pipe, no file that can be read twice"
    return f"it cannot be read ({error.strerror})"
