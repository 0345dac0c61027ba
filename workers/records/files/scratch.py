"""Memory for bytes on their way to a file, used again and again: new pages cost as much as to fill them."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final

MAX_KEPT_BYTES: Final = 32 << 20
"""What a thread keeps for the next time; several times what a part takes."""


class _Scratch(threading.local):
    """One buffer a thread."""

    def __init__(self) -> None:
        self._data = io.BytesIO()

    @contextmanager
    def filled(self, write: Callable[[IO[bytes]], object]) -> Iterator[memoryview]:
        """Give what `write` writes, until the `with` ends."""
        self._data.seek(0)
        write(self._data)
        length = self._data.tell()
        with self._data.getbuffer() as whole, whole[:length] as view:
            yield view
        if length > MAX_KEPT_BYTES:
            self._data = io.BytesIO()


SCRATCH: Final = _Scratch()
