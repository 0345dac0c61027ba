"""A directory of local copies with a bound: what was used longest ago goes first."""

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from workers.kernel.files import written_whole
from workers.kernel.storage.directory import disk_errors

UNFINISHED_SECONDS: Final = 3600.0
"""What is being written has a name with a dot; after this long, who wrote it is dead."""
_CHECKS: Final = 100
"""Looks at the directory while as much is written as the bound allows."""


class FileCache:
    """Copies that can be made again, shared by several processes on one machine.

    `max_bytes` bounds the files together, give or take a hundredth for each process that writes; files used less
    than `spare_seconds` ago stay even beyond it.
    """

    def __init__(self, directory: Path, max_bytes: int, spare_seconds: float = 0) -> None:
        self.directory = directory
        self._max_bytes = max_bytes
        self._spare_seconds = spare_seconds
        self._unchecked_bytes = max_bytes

    def find(self, name: str) -> Path | None:
        """Return a copy and note its use; None when there is none."""
        path = self.directory / name
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def drop(self, name: str) -> None:
        """Remove a copy; one that is not there is no error."""
        (self.directory / name).unlink(missing_ok=True)

    @contextmanager
    def make(self, name: str) -> Iterator[Path]:
        """Give a path to write the copy to; it takes its name when the block ends well, and is gone otherwise.

        Raises Transient when the disk is full.
        """
        path = self.directory / name
        with disk_errors(str(path)), written_whole(path) as temporary:
            yield temporary
            self._unchecked_bytes += temporary.stat().st_size

    def made(self, name: str, write: Callable[[Path], object]) -> Path:
        """Return the path of a copy that is made now: `write` is given where to write it. Raises as `make` does."""
        with self.make(name) as path:
            write(path)
        self.shrink(keep={name})
        return self.directory / name

    def shrink(self, keep: Collection[str] = ()) -> None:
        """Remove the copies used longest ago until the bound holds; those named in `keep` stay.

        Looks at the directory only after enough was written, since that takes as long as there are files.
        """
        if self._unchecked_bytes * _CHECKS < self._max_bytes:
            return
        self._unchecked_bytes = 0
        copies = sorted(self._copies(), key=lambda copy: copy[0])
        excess = sum(size for _, size, _ in copies) - self._max_bytes
        now = time.time()
        for used, size, path in copies:
            if excess <= 0:
                return
            name = path.relative_to(self.directory).as_posix()
            spare_seconds = UNFINISHED_SECONDS if path.name.startswith(".") else self._spare_seconds
            if used < now - spare_seconds and name not in keep:
                path.unlink(missing_ok=True)
                excess -= size

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        # os.walk passes over folders that another thread's download takes away meanwhile; rglob stumbles over them.
        for folder, _, names in os.walk(self.directory):
            for path in (Path(folder, name) for name in names):
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    yield stat.st_mtime, stat.st_size, path
