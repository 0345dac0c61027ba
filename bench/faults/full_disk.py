"""An archive on a disk of its own that runs full: a small tmpfs, filled up by a file of somebody else's."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from bench.faults.house import House

SIZE: Final = "16m"
BALLAST: Final = "ballast"


@contextmanager
def full_archive(house: House) -> Iterator[Callable[[], None]]:
    """Put the archive on a full tmpfs and give what makes room on it; needs the right to mount."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(house.archive)], check=True)
    house.mounted.append(house.archive)
    ballast = house.archive / BALLAST
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    yield ballast.unlink
