"""Room for the counters that web processes share by files.

prometheus_client maps sparse files into memory. Where the disk is full, the first count on a new page ends a web
process by SIGBUS, and all that follow: so pages are reserved before, or a process counts for itself alone.
"""

import os
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that prometheus_client looks at, once, when it is imported."""
NO_ROOM: Final = "METERMEND_NO_ROOM_FOR_METRICS"
"""Set in a process that counts for itself alone."""
BYTES: Final = 16_384
"""A file's size; what we count takes a quarter of it."""
KINDS: Final = ("counter", "histogram")
"""Kinds of metrics in `workers.kernel.metrics` that are kept in files, one file each."""


def share() -> None:
    """Make the folder, where none is named; without room for one, every process counts for itself."""
    if FOLDER not in os.environ:
        try:
            os.environ[FOLDER] = mkdtemp(prefix="metermend-metrics-")
        except OSError:
            os.environ[NO_ROOM] = "1"


def reserve(pid: int) -> None:
    """Reserve the files of a process that is about to import prometheus_client, or let it do without."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    files = [Path(folder) / f"{kind}_{pid}.db" for kind in KINDS]
    try:
        for file in files:
            with file.open("ab") as opened:
                os.posix_fallocate(opened.fileno(), 0, BYTES)
    except OSError:
        for file in files:
            file.unlink(missing_ok=True)
        del os.environ[FOLDER]
        os.environ[NO_ROOM] = "1"
