"""Record sets: canonical frames as immutable Parquet files in the archive.

The same records give the same bytes with the same version of polars, however they are divided into frames. The
digest is over the file as it was written, so a later version proves old sets unchanged, too.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from workers.kernel.errors import Corrupt, InputUnusable

ROW_GROUP: Final = 250_000
LEVEL: Final = 3


def write_record_set(frames: pl.DataFrame | Iterable[pl.DataFrame], path: Path) -> str:
    """Write the frames, all with the first one's columns, as one Parquet file; return its sha256 as hex.

    The file appears whole or not at all; memory does not grow with the number of frames. Raises ValueError where
    there is no frame, InputUnusable where the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        _sink([frames] if isinstance(frames, pl.DataFrame) else frames, temporary)
        with _disk_errors(path):
            digest = digest_of(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, PolarsError) as error:  # polars wraps some of the disk's errors, not all
        why = str(error).splitlines()[0]
        raise InputUnusable(f"cannot be written ({why})", where=str(path), mend="make room") from error


def _sink(frames: Iterable[pl.DataFrame], path: Path) -> None:
    """Spool the frames, since a Parquet file cannot be appended to, and stream the spool into one file."""
    with tempfile.TemporaryDirectory(prefix=".spool-", dir=path.parent) as spool:
        paths: list[Path] = []
        for frame in frames:
            paths.append(Path(spool) / f"{len(paths):08}.parquet")
            with _disk_errors(path):
                frame.write_parquet(paths[-1], compression="lz4", statistics=False)
        if not paths:
            raise ValueError("a record set needs a frame, if only an empty one, to know its columns")
        with _disk_errors(path):
            pl.scan_parquet(paths).sink_parquet(
                path, compression="zstd", compression_level=LEVEL, row_group_size=ROW_GROUP
            )


def digest_of(path: Path) -> str:
    """Return the sha256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan_record_set(path: Path, digest: str | None = None) -> pl.LazyFrame:
    """Return a record set to read lazily; raises Corrupt where it is not the one with that digest, or is none."""
    if digest is not None and digest_of(path) != digest:
        raise Corrupt(f"{path.name} is not the record set that was written: its sha256 is not {digest}")
    frames = pl.scan_parquet(path)
    try:
        frames.collect_schema()
    except PolarsError as error:
        raise Corrupt(f"{path.name} is no record set ({error})") from error
    return frames
