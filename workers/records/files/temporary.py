"""Room for temporary files: where there is none, whoever waits is told so in one line."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from workers.kernel.errors import FileUnusable


@contextmanager
def temporary_room(name: str = "") -> Iterator[None]:
    """Raise FileUnusable where a temporary file cannot be made or written; `name` is the file that it is for."""
    try:
        yield
    except OSError as error:
        raise FileUnusable(
            f"no temporary file can be written in {_folder()} ({_why(error)})",
            where=name,
            mend="make room there, or set TMPDIR to a folder that has it",
        ) from error


def _why(error: OSError) -> str:
    """Say why, as the system does; polars puts the number behind it and into no attribute."""
    return error.strerror or str(error).partition(" (os error")[0]


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "TMPDIR"
