"""What is known of a converted file without opening its records: for each part and event name a row of facts.

`records` counts the rows of the name as it is written. `first` and `last` are the earliest and the latest of their
timestamps that read as epoch seconds of today; `untimed` counts the rows whose timestamp does not, and may say any
time.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from workers.records.catalog import folded, folded_text
from workers.records.schema import EVENT_NAME, TIMESTAMP
from workers.sources.protocol import EPOCH_SECONDS

PART: Final = "part"
RECORDS: Final = "records"
FACTS: Final = "facts"
"""The path of the file of facts that a row stands in."""
_FIRST: Final = "first"
_LAST: Final = "last"
_UNTIMED: Final = "untimed"
_SCHEMA: Final = {
    PART: pl.UInt16,
    EVENT_NAME: pl.String,
    RECORDS: pl.Int64,
    _FIRST: pl.Int64,
    _LAST: pl.Int64,
    _UNTIMED: pl.Int64,
}


def facts_of(records: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return the facts about one part of a file."""
    time = pl.col(TIMESTAMP)
    seconds = pl.when(time.str.contains(EPOCH_SECONDS)).then(time).cast(pl.Int64)
    told = records.group_by(EVENT_NAME).agg(
        pl.lit(number, pl.UInt16).alias(PART),
        pl.len().cast(pl.Int64).alias(RECORDS),
        seconds.min().alias(_FIRST),
        seconds.max().alias(_LAST),
        seconds.is_null().sum().cast(pl.Int64).alias(_UNTIMED),
    )
    return told.sort(EVENT_NAME).select(*_SCHEMA)


def all_facts(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the facts about a file, given those about its parts."""
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *parts])


def read_facts(paths: list[str], wanted: pl.Expr) -> pl.DataFrame:
    """Return the wanted facts of several files, with the path of each (`FACTS`). Raises as polars does."""
    if not paths:
        return pl.DataFrame(schema={**_SCHEMA, FACTS: pl.String})
    return pl.scan_parquet(paths, include_file_paths=FACTS).filter(wanted).collect()


def of_names(event_names: Collection[str] | None) -> pl.Expr:
    """Tell which rows or facts are of one of these event names, exactly so written; None: of any."""
    return pl.lit(value=True) if event_names is None else pl.col(EVENT_NAME).is_in(list(event_names))


def may_concern(event_names: Collection[str], start: datetime, end: datetime) -> pl.Expr:
    """Tell which facts leave room for a row that `protocol.concerned` takes."""
    named = folded(pl.col(EVENT_NAME)).is_in([folded_text(name) for name in event_names])
    overlaps = (pl.col(_FIRST) < end.timestamp()) & (pl.col(_LAST) >= int(start.timestamp()))
    return named & ((pl.col(_UNTIMED) > 0) | overlaps)
