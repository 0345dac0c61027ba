"""Usage that stands in a file which its sender wrote before the one that Stripe refused: it may be billed already.

Stripe promises that it holds an identifier for 24 hours only (stripe-python, `billing.MeterEvent`, `identifier`). A
file that was billed and is uploaded again later, with a fault this time, is refused whole; cured and sent it is
billed once more.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import polars as pl

from workers.kernel.reasons import IN_OLDER_FILE
from workers.records.identifiers import content, is_nameless
from workers.records.schema import IDENTIFIER, REASON, ROW, SOURCE, SUGGESTION, WRITTEN, with_columns_of
from workers.records.timestamps import rfc3339
from workers.sources import UsageSources, same_usage
from workers.sources.protocol import RECORD_AT, ROW_AT

_SAID: Final = "@said"
_TOLD: Final = "@told"
_ADVICE: Final = "{} row {}, written at {}, has it too: where that was billed, this is. Compare before it is sent."


@dataclass
class OlderFiles:
    """Files of the sources last written before `before`, but for copies of the very file that was refused.

    `refused` names the addresses of those copies, and is asked only where something is found. `by_row`: the records
    were refused one by one for their form, so a row of the very same text was refused wherever it stands.
    """

    sources: UsageSources
    before: datetime
    refused: Callable[[], frozenset[str]]
    by_row: bool

    def hold(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Yield the records; those whose usage stands in an older file have a `REASON`, if they had none."""
        for frame in frames:
            older = self._older(frame)
            yield frame if older.is_empty() else with_held(frame, older)

    def _older(self, frame: pl.DataFrame) -> pl.DataFrame:
        found = self._telling(frame, frozenset())
        return found if found.is_empty() else self._telling(frame, self._copies)

    @cached_property
    def _copies(self) -> frozenset[str]:
        return self.refused()

    def _telling(self, frame: pl.DataFrame, but: frozenset[str]) -> pl.DataFrame:
        rows = self.sources.earlier(frame, self.before, but)
        if not self.by_row or rows.is_empty():
            return rows
        same = frame.select(IDENTIFIER, content(frame.columns).alias(_SAID))
        told = rows.with_columns(content(rows.columns).alias(_SAID))
        equal = told.filter(~is_nameless()).join(same, on=[IDENTIFIER, _SAID], how="semi")
        return told.join(equal, on=[SOURCE, WRITTEN, ROW], how="anti", maintain_order="left").drop(_SAID)


def with_held(records: pl.DataFrame, older: pl.DataFrame) -> pl.DataFrame:
    """Give the records whose usage older rows tell a `REASON` and a `SUGGESTION`, if they have none."""
    if older.is_empty():
        return with_columns_of(records, (REASON, SUGGESTION))
    written = rfc3339(pl.col(WRITTEN).dt.epoch("s"))
    told = older.select(pl.format(_ADVICE, SOURCE, ROW, written)).to_series()
    firsts = same_usage(records, older).unique(RECORD_AT, keep="first", maintain_order=True)
    advice = firsts.select(RECORD_AT, pl.lit(told).gather(ROW_AT).alias(_TOLD))
    places = with_columns_of(records, (REASON, SUGGESTION)).with_row_index(RECORD_AT)
    held = pl.col(REASON).is_null() & pl.col(_TOLD).is_not_null()
    return (
        places.join(advice, on=RECORD_AT, how="left", maintain_order="left")
        .with_columns(
            pl.when(held).then(pl.lit(IN_OLDER_FILE)).otherwise(REASON).alias(REASON),
            pl.when(held).then(_TOLD).otherwise(SUGGESTION).alias(SUGGESTION),
        )
        .drop(RECORD_AT, _TOLD)
    )
