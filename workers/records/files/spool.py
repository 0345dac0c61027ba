"""Frames put aside on disk between two passes over a file."""

import os
import tempfile
import threading
import weakref
from contextlib import suppress

import polars as pl

from workers.records.files.scratch import SCRATCH
from workers.records.files.temporary import temporary_room


class Spool:
    """Keeps frames by number in one unnamed temporary file, which vanishes with this object, whatever happens.

    It only saves work: where the disk has no room a frame is not kept, and its owner makes it again.
    """

    def __init__(self) -> None:
        with temporary_room(), tempfile.TemporaryFile() as file:
            self._fd = os.dup(file.fileno())
        self.close = weakref.finalize(self, os.close, self._fd)
        self._lock = threading.Lock()
        self._places: dict[int, tuple[int, int]] = {}
        self._end = 0

    def put(self, number: int, frame: pl.DataFrame) -> None:
        """Keep a frame; may be called by several threads."""
        with SCRATCH.filled(lambda data: frame.write_ipc(data, compression="uncompressed")) as view:
            with self._lock:
                start, self._end = self._end, self._end + len(view)
            with suppress(OSError):
                if os.pwrite(self._fd, view, start) == len(view):
                    self._places[number] = (start, len(view))

    def get(self, number: int) -> pl.DataFrame | None:
        """Return the frame of that number, or None where it is not kept."""
        if number not in self._places:
            return None
        start, length = self._places[number]
        return pl.read_ipc(os.pread(self._fd, length, start))
