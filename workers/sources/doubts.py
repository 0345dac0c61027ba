"""What of a part of a converted file has to be judged again and again, apart from what is right as it stands.

A row is doubtful where something of it may be wrong whatever the day is and whichever customers exist
(`quick_check.is_doubtful`). Doubtful rows are kept whole. Of the others it is kept whose they are and of what
times: that tells whether any of them is to be judged at all.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import polars as pl

from workers.records.catalog import CUSTOMER_ID, Catalog, Meter
from workers.records.quick_check import is_doubtful
from workers.records.schema import EVENT_NAME, TIMESTAMP, with_columns_of
from workers.records.timestamps import Window

_FIRST: Final = "first"
_LAST: Final = "last"


@dataclass(frozen=True, eq=False)
class Doubts:
    """The `rows` of a meter that are doubtful, as the part has them, and the customers of the `others`.

    `others` has each customer once, with the first and the last of his times in epoch seconds.
    """

    rows: pl.DataFrame
    others: pl.DataFrame


def doubts_of(records: pl.DataFrame, meter: Meter) -> Doubts:
    """Tell the rows of a meter apart, given those of its event name."""
    keyed = with_columns_of(records, (meter.customer_column, meter.value_column, *(meter.dimensions or ())))
    doubtful = keyed.select(is_doubtful(meter)).to_series()
    seconds = pl.col(TIMESTAMP).cast(pl.Int64)
    others = (
        keyed.filter(~doubtful)
        .group_by(pl.col(meter.customer_column).alias(CUSTOMER_ID))
        .agg(seconds.min().alias(_FIRST), seconds.max().alias(_LAST))
    )
    return Doubts(records.filter(doubtful), others.sort(CUSTOMER_ID))


def word_for(meter: Meter) -> str:
    """Return a word that is another one for a meter which reads other columns."""
    read = (meter.event_name, meter.customer_column, meter.value_column, *(meter.dimensions or ()))
    return sha256("\n".join(map(repr, read)).encode()).hexdigest()[:16]


def to_judge(others: pl.DataFrame, meter: Meter, catalog: Catalog, window: Window) -> pl.Expr | None:
    """Tell which rows of a part are to be judged; None where only the doubtful ones are.

    The others are where a customer does not exist, or a time is not in the window.
    """
    known = catalog.known_customers
    times = others.select(pl.col(_FIRST).min(), pl.col(_LAST).max()).row(0)
    strangers = others.clear() if known is None else others.join(known, on=CUSTOMER_ID, how="anti")
    if strangers.is_empty() and (others.is_empty() or window.oldest <= times[0] <= times[1] <= window.newest):
        return None
    seconds = pl.col(TIMESTAMP).cast(pl.Int64, strict=False)
    unknown = pl.col(meter.customer_column).is_in(strangers[CUSTOMER_ID].implode())
    return of_meter(meter) & (is_doubtful(meter) | unknown | ~window.holds(seconds))


def of_meter(meter: Meter) -> pl.Expr:
    """Tell whether a row is of the meter's event name, exactly so written."""
    return pl.col(EVENT_NAME) == meter.event_name
