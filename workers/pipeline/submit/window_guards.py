"""Records of pre-aggregated meters: sending an older one would overwrite good usage.

A window (`meter_windows`) is free for one record when no submission of ours is on its way to it, Stripe has counted
no other value in it (its summaries lag behind what it has received), and the sender has no newer value for it
(`newer_values`). Somebody who has decided between the values lets a record go in all the same, once and by name.

In a file a record may lie for minutes until the connector comes, and a newer value may arrive before it does. So
where there is nothing but a folder, usage waits until its window is over, and then for somebody's word.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, cast

import polars as pl

from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import CaseReading
from workers.kernel.ledger.submissions import Submission
from workers.kernel.reasons import WINDOW_BY_FILE, WINDOW_NOT_ASKED, WOULD_OVERWRITE
from workers.pipeline.approvals import BY_FILE, OVERWRITE, approved
from workers.pipeline.context import Context
from workers.pipeline.hold import STOPPED_SCHEMA, first_stopped, stop
from workers.pipeline.record_sets import PART_RECORDS, RECORD, scan
from workers.pipeline.submit.meter_windows import KEYS, WINDOW_END, Windows
from workers.pipeline.submit.newer_values import superseded
from workers.records.catalog import CUSTOMER_ID
from workers.records.schema import EVENT_NAME, QUANTITY
from workers.stripe_api import Grouping

MAX_WINDOWS: Final = 500
"""Windows that are asked for at a time; further ones are put before a person, as not asked for yet."""

_ADVICE: Final = "The meter keeps one value per window, and another is there or on its way: decide which is right."
_BY_FILE: Final = (
    "The meter keeps one value per window, and the connector reads a file minutes later, when a newer value may "
    "have come: set SUBMIT_TO=<the folder>,meter-events, or approve by name to send it by file."
)
_NOT_ASKED: Final = (
    f"Only {MAX_WINDOWS} windows are asked for at a time: `metermend retry` has the next ones asked for."
)


def would_overwrite(
    context: Context,
    held: CaseReading,
    windows: Windows,
    planned: pl.LazyFrame,
    sent: Sequence[Submission],
    intended: Submission | None = None,
) -> pl.DataFrame:
    """Stop planned records whose window holds, or is about to receive, another value, as `guards` does.

    Records of other meters are not read. `intended` is the submission that carries them, if there is one already.
    """
    keyed = _keyed(windows, planned)
    if keyed.is_empty():
        return pl.DataFrame(schema=STOPPED_SCHEMA)
    single = keyed.filter(pl.len().over(KEYS) == 1)
    let_go = single.join(approved(context, held, OVERWRITE, intended=intended), on=RECORD, how="semi")
    asked = single.join(let_go, on=RECORD, how="anti")
    unsent = asked.join(_sent_there(context, held.case, windows, asked, sent), on=KEYS, how="anti").sort(RECORD)
    asked, account = unsent.head(MAX_WINDOWS), held.case.failure.account
    unused = [_is_unused(context, account, windows, row) for row in asked.iter_rows(named=True)]
    free = asked.filter(pl.Series(unused, dtype=pl.Boolean))
    return first_stopped(
        stop(unsent.slice(MAX_WINDOWS), WINDOW_NOT_ASKED, _NOT_ASKED),
        stop(
            keyed.join(pl.concat([let_go, free]), on=RECORD, how="anti", maintain_order="left"),
            WOULD_OVERWRITE,
            _ADVICE,
        ),
        superseded(context, held, windows, planned.join(free.lazy().select(RECORD), on=RECORD, how="semi")),
    )


def waiting_for_window(
    context: Context, held: CaseReading, windows: Windows, planned: pl.LazyFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what must not go by file: what waits, with its WINDOW_END, and what is stopped, as `guards` does."""
    keyed = _keyed(windows, planned)
    if keyed.is_empty():
        return keyed, pl.DataFrame(schema=STOPPED_SCHEMA)
    rest = keyed.join(approved(context, held, OVERWRITE, BY_FILE), on=RECORD, how="anti", maintain_order="left")
    is_open = pl.col(WINDOW_END) > int(context.clock().timestamp())
    return rest.filter(is_open), stop(rest.filter(~is_open), WINDOW_BY_FILE, _BY_FILE)


def overwrites_sent(
    context: Context, case: Case, windows: Windows, planned: pl.LazyFrame, sent: Sequence[Submission]
) -> pl.DataFrame:
    """Stop planned records to whose window one of these submissions brings another value."""
    keyed = _keyed(windows, planned)
    taken = _sent_there(context, case, windows, keyed, sent)
    return stop(keyed.join(taken, on=KEYS, how="semi", maintain_order="left"), WOULD_OVERWRITE, _ADVICE)


def _keyed(windows: Windows, planned: pl.LazyFrame) -> pl.DataFrame:
    if not windows:
        return pl.DataFrame(schema={RECORD: pl.Int64, WINDOW_END: pl.Int64, **dict.fromkeys(KEYS, pl.String)})
    keyed = windows.keyed(planned.filter(windows.concern()).collect())
    return keyed.select(RECORD, WINDOW_END, QUANTITY, *KEYS)


def _sent_there(
    context: Context, case: Case, windows: Windows, wanted: pl.DataFrame, sent: Sequence[Submission]
) -> pl.DataFrame:
    """Return the wanted windows to which we have sent another record, whether Stripe shows it yet or not."""
    names = set(wanted[EVENT_NAME])
    taken = [wanted.select(KEYS).clear()]
    for submission in sent:
        if names.isdisjoint(submission.event_names):
            continue
        windowed = scan(context, submission.ref).filter(windows.concern())
        for batch in windowed.collect_batches(chunk_size=PART_RECORDS):
            there = wanted.join(windows.keyed(batch).select(RECORD, *KEYS), on=KEYS, suffix="_sent")
            own = pl.lit(submission.case_id == case.id) & (pl.col(RECORD) == pl.col(f"{RECORD}_sent"))
            taken.append(there.filter(~own).select(KEYS))
    return pl.concat(taken)


def _is_unused(context: Context, account: str | None, windows: Windows, row: dict[str, Any]) -> bool:
    """Whether Stripe has counted nothing of the customer in the window, or the very value of the record.

    Asked by hour or day, Stripe lists what has usage (Stripe docs, "List billing meter event summaries"): what it
    lists is taken, also where its value is 0. Should it list empty windows too, nothing tells them apart, and their
    records go before a person.
    """
    meter = windows.meters[row[EVENT_NAME]]
    grouping = cast("Grouping", meter.event_time_window)
    found = context.stripe.event_summaries(meter.id, row[CUSTOMER_ID], *windows.span(row), account, grouping)
    return all(row[QUANTITY] is not None and summary.value == Decimal(row[QUANTITY]) for summary in found)
