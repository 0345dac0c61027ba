"""Record sets: canonical frames as immutable Parquet files in the archive."""

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from workers.kernel.errors import Corrupt


def scan_record_set(path: Path) -> pl.LazyFrame:
    """Return a record set to read lazily; raises Corrupt where it is none."""
    frames = pl.scan_parquet(path)
    try:
        frames.collect_schema()
    except PolarsError as error:
        raise Corrupt(f"{path.name} is no record set ({error})") from error
    return frames
