"""Reads bytes as a usage file, for the tests of the reader."""

import tempfile
from pathlib import Path

import polars as pl

from workers.offline.scan import find_facts
from workers.records.files.layout import ReadOptions
from workers.records.files.open import open_file
from workers.records.schema import RAW, ROW, UNREADABLE, empty_frame, original_columns

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value"


def read_all(
    data: bytes, name: str = "usage.csv", *, target: int = 1 << 20, options: ReadOptions | None = None
) -> pl.DataFrame:
    """Return the whole file as one frame, read in parts of about `target` bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        with open_file(path, options) as file:
            [facts] = find_facts([file], target)
            frames = [file.read(part, facts.columns) for part in facts.parts]
    if not frames:
        return empty_frame(facts.columns)
    frame = pl.concat(frames)
    assert frame[ROW].to_list() == list(range(1, frame.height + 1)), "rows are numbered from 1 without a gap"
    assert facts.records == frame.height
    return frame


def cells(frame: pl.DataFrame) -> list[tuple[str | None, ...]]:
    """Return the sender's cells, row by row."""
    return frame.select(original_columns(frame.columns)).rows()


def unreadable(frame: pl.DataFrame) -> list[tuple[int, str, str]]:
    """Return number, reason and text of the rows that could not be taken apart."""
    return frame.filter(pl.col(UNREADABLE).is_not_null()).select(ROW, UNREADABLE, RAW).rows()
