"""What a person is told of records that Stripe counts and that could not be told from others."""

from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.codes import Code
from workers.pipeline.locate.judge import Verdict
from workers.pipeline.locate.suspects import Suspects
from workers.records.schema import SOURCE

_FILES: Final = 3
_UNSEEN: Final = (Code.DIMENSION_COUNT_TOO_HIGH, Code.MISSING_DIMENSION_PAYLOAD_KEYS)
_NAMED: Final = "Name every place that your usage lies in under USAGE_SOURCES, then retry the case."


def advice(
    code: str | None, verdict: Verdict, free: pl.DataFrame, counted: int, suspects: Suspects, totals_at: datetime
) -> str:
    """Return both numbers, where the rows lie, and the likeliest cause.

    `free` are the rows that no case has; `totals_at` is when Stripe's totals can tell of them.
    """
    predicted, looked_through = free.height, len(suspects.files)
    files = dict(free.group_by(SOURCE).len().sort("len", SOURCE, descending=[True, False]).iter_rows())
    where = ", ".join(f"{name} ({rows:,})" for name, rows in list(files.items())[:_FILES])
    more = f" and {len(files) - _FILES} more files" if len(files) > _FILES else ""
    unread = f" Not read: {suspects.unusable[0]}." if suspects.unusable else ""
    if verdict in {Verdict.EXACT, Verdict.ACROSS_CODES}:
        said = (
            f"They are found, {predicted:,} as Stripe counts: {where}{more}. Whether it refused them depends on "
            f"the time, so they wait for its totals, which can tell from {totals_at:%Y-%m-%d %H:%M} UTC on."
        )
    elif verdict is Verdict.OVER:
        said = (
            f"{predicted:,} rows of your files show this fault, Stripe has counted {counted:,} more than it named: "
            f"{where}{more}. A report may be on its way, or a file not imported yet; else say which were refused."
        )
    elif not predicted and code in _UNSEEN:
        said = (
            f"Stripe counts {counted:,} more than it named, and no file shows this fault: its API tells neither "
            "the dimensions of a meter nor their limit. See what the named records lack; the others lack it, too."
        )
    elif verdict is Verdict.CONTRADICTED:
        said = (
            f"{predicted:,} rows show this fault, as many as are missing, but Stripe names identifiers that none "
            f"of them has: {where}{more}. {_NAMED}"
        )
    else:
        said = (
            f"Only {predicted:,} of {counted:,} records that Stripe counts and does not name are to be seen in "
            f"{looked_through:,} files of that time{': ' if where else ''}{where}{more}. {_NAMED}"
        )
    return said + unread
