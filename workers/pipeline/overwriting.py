"""Records of pre-aggregated meters: sending an older one would overwrite good usage.

Such meters keep the last event received in each hour or day (Stripe docs, "Record usage for billing"). A window is
free for one record when Stripe has counted nothing in it and no submission of ours is on its way to it: Stripe's
summaries lag behind what it has received.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

import polars as pl

from workers.kernel.clock import from_epoch
from workers.kernel.ledger.cases import Case
from workers.kernel.ledger.movements import RecordSetRef
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.book import RECORD, scan
from workers.pipeline.carried import recent_submissions
from workers.pipeline.context import Context
from workers.pipeline.guards import STOPPED_SCHEMA, WOULD_OVERWRITE
from workers.records.catalog import CUSTOMER_ID, Catalog, Meter
from workers.records.schema import EVENT_NAME, REASON, SUGGESTION, TIMESTAMP
from workers.stripe_api import Grouping

MAX_WINDOWS: Final = 500
"""Windows that are asked for at a time; further ones are put before a person."""
BATCH: Final = 100_000
"""Rows of a submission that are in memory at a time."""

_WINDOW: Final = "@window"
_KEYS: Final = [EVENT_NAME, CUSTOMER_ID, _WINDOW]
_SECONDS: Final = {"hour": 3600, "day": 86_400}
_ADVICE: Final = "The meter keeps one value per window, and another is there or on its way: decide which is right."


def would_overwrite(context: Context, case: Case, repaired: pl.LazyFrame) -> pl.DataFrame:
    """Stop repaired records whose window holds, or is about to receive, another value, as `guards` does.

    Records of other meters are not read.
    """
    objects = context.stripe.list_meters(case.failure.account)
    windows = _Windows(tuple(Meter.from_stripe(meter) for meter in objects))
    concerned = repaired.filter(windows.concern()).collect() if windows.meters else pl.DataFrame()
    if concerned.is_empty():
        return pl.DataFrame(schema=STOPPED_SCHEMA)
    keyed = windows.keyed(concerned)
    free = _free(context, case, windows, keyed)
    return keyed.join(free, on=_KEYS, how="anti", maintain_order="left").select(
        RECORD, pl.lit(WOULD_OVERWRITE).alias(REASON), pl.lit(_ADVICE).alias(SUGGESTION)
    )


@dataclass(frozen=True, eq=False)
class _Windows:
    """The windows in which an account's meters keep one value."""

    all_meters: tuple[Meter, ...]

    @cached_property
    def meters(self) -> Mapping[str, Meter]:
        """The pre-aggregated meters by event name."""
        active = Catalog(meters=self.all_meters).active
        return {meter.event_name: meter for meter in active if meter.event_time_window in _SECONDS}

    def concern(self) -> pl.Expr:
        """Tell whether a record's meter is pre-aggregated."""
        return pl.col(EVENT_NAME).is_in(list(self.meters))

    def keyed(self, records: pl.DataFrame) -> pl.DataFrame:
        """Return the number and the window of each record: event name, customer and first second."""
        lengths = {name: _SECONDS[str(meter.event_time_window)] for name, meter in self.meters.items()}
        seconds = pl.col(TIMESTAMP).cast(pl.Int64)
        length = pl.col(EVENT_NAME).replace_strict(lengths, return_dtype=pl.Int64)
        resolved = Catalog(meters=self.all_meters).resolve(records)
        return resolved.select(RECORD, EVENT_NAME, CUSTOMER_ID, (seconds - seconds % length).alias(_WINDOW))


def _free(context: Context, case: Case, windows: _Windows, keyed: pl.DataFrame) -> pl.DataFrame:
    """Return the windows that can take the one record that is meant for each."""
    single = keyed.filter(pl.len().over(_KEYS) == 1)
    taken = pl.concat([single.select(_KEYS).clear(), *_sent_there(context, case, windows, single)])
    asked = single.join(taken, on=_KEYS, how="anti", maintain_order="left").head(MAX_WINDOWS).select(_KEYS)
    free = [_is_unused(context, case.failure.account, windows, row) for row in asked.iter_rows(named=True)]
    return asked.filter(pl.Series(free, dtype=pl.Boolean))


def _sent_there(context: Context, case: Case, windows: _Windows, wanted: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the wanted windows to which we have sent another record, whether Stripe shows it yet or not."""
    names = set(wanted[EVENT_NAME])
    for submission in recent_submissions(context, case.failure.account):
        if names.isdisjoint(submission.event_names):
            continue
        for sent in _batches(context, windows, submission):
            there = wanted.join(sent, on=_KEYS, suffix="_sent")
            own = pl.lit(submission.case_id == case.id) & (pl.col(RECORD) == pl.col(f"{RECORD}_sent"))
            yield there.filter(~own).select(_KEYS)


def _batches(context: Context, windows: _Windows, submission: Submission) -> Iterator[pl.DataFrame]:
    records = scan(context, RecordSetRef(submission.record_set, submission.record_set_sha256))
    for batch in records.filter(windows.concern()).collect_batches(chunk_size=BATCH):
        yield windows.keyed(batch)


def _is_unused(context: Context, account: str | None, windows: _Windows, row: dict[str, Any]) -> bool:
    """Whether Stripe has counted nothing of the customer in the window.

    Asked by hour or day, Stripe lists what has usage (Stripe docs, "List billing meter event summaries"): what it
    lists is taken, also where its value is 0. Should it list empty windows too, nothing tells them apart, and their
    records go before a person.
    """
    meter = windows.meters[row[EVENT_NAME]]
    start, end = from_epoch(row[_WINDOW]), from_epoch(row[_WINDOW] + _SECONDS[str(meter.event_time_window)])
    grouping = cast("Grouping", meter.event_time_window)
    return not context.stripe.event_summaries(meter.id, row[CUSTOMER_ID], start, end, account, grouping)
