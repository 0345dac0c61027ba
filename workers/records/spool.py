"""Frames put aside on disk between two passes over a file."""

import io
import os
import tempfile
import threading
import weakref
from contextlib import suppress

import polars as pl


class _Scratch(threading.local):
    """What a thread writes its frames into, again and again: new memory for each costs as much as to fill it."""

    def __init__(self) -> None:
        self.data = io.BytesIO()


class Spool:
    """Keeps frames by number in one unnamed temporary file, which vanishes with this object, whatever happens.

    It only saves work: where the disk has no room a frame is not kept, and its owner makes it again.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            self._fd = os.dup(file.fileno())
        self.close = weakref.finalize(self, os.close, self._fd)
        self._lock = threading.Lock()
        self._scratch = _Scratch()
        self._places: dict[int, tuple[int, int]] = {}
        self._end = 0

    def put(self, number: int, frame: pl.DataFrame) -> None:
        """Keep a frame; may be called by several threads."""
        data = self._scratch.data
        data.seek(0)
        frame.write_ipc(data, compression="uncompressed")
        length = data.tell()
        with self._lock:
            start, self._end = self._end, self._end + length
        with suppress(OSError), data.getbuffer()[:length] as view:
            if os.pwrite(self._fd, view, start) == length:
                self._places[number] = (start, length)

    def get(self, number: int) -> pl.DataFrame | None:
        """Return the frame of that number, or None where it is not kept."""
        if number not in self._places:
            return None
        start, length = self._places[number]
        return pl.read_ipc(os.pread(self._fd, length, start))
