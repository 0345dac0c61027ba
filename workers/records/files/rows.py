"""Records that were read one by one in Python, as a frame."""

from collections.abc import Sequence

import polars as pl

from workers.records.files.layout import MAX_KEYS, Unreadable
from workers.records.schema import RAW, READER_COLUMNS, ROW, UNREADABLE

Row = tuple[int, str, dict[str, str | None]]
"""A record's number, its text, and its cells; `UNREADABLE` and `RAW` alone where it could not be read."""


def frame_of(rows: Sequence[Row], wanted: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows with `wanted` of their columns (all if None), `ROW`, and other `READER_COLUMNS` where needed.

    A record that would bring more than `MAX_KEYS` different keys into the frame is unreadable, those behind it are
    not: without a bound a few megabytes of ever new keys are a frame that no memory holds.
    """
    keys: set[str] = set()
    records = []
    for _, text, cells in rows:
        record = cells
        if UNREADABLE not in cells and len(keys.union(cells)) > MAX_KEYS:
            record = {UNREADABLE: Unreadable.TOO_MANY_KEYS, RAW: text}
        elif UNREADABLE not in cells:
            keys.update(cells)
        records.append(record)
    names = dict.fromkeys(name for record in records for name in record)
    kept = [name for name in names if wanted is None or name in wanted or name in READER_COLUMNS]
    columns = {name: [record.get(name) for record in records] for name in kept}
    frame = pl.DataFrame({ROW: [row for row, _, _ in rows]}, schema={ROW: pl.Int64})
    return frame.with_columns(pl.Series(name, cells, dtype=pl.String) for name, cells in columns.items())
