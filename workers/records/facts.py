"""What only the whole file can tell, found in one pass with bounded memory before any record is judged."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from workers.records.layout import Part


@dataclass(frozen=True)
class FileFacts:
    """Facts about a whole file.

    `columns` are the sender's columns over all parts, in order of first appearance: passing them to
    `UsageFile.read` gives every part the same schema. `repeats` holds, per key that was asked for, the records
    that share their key with another: `@row`, `@first` and `@last` (Int64, rows of first and last record with
    that key), sorted by `@row`. Keys that occur once, and null keys, are absent.
    """

    parts: tuple[Part, ...]
    columns: tuple[str, ...]
    records: int
    unreadable: int
    missing_identifiers: int
    repeats: Mapping[str, pl.DataFrame]
