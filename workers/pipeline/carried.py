"""Which of our own submissions carried a record: asked at every refusal and for every plan.

Identifiers are looked up by their hashes first, kept in memory per submission, and read from the archive only where
a hash agrees: thousands of small submissions are asked in milliseconds.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from workers.kernel.ledger.movements import RecordSetRef
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.book import RECORD, scan
from workers.pipeline.context import Context
from workers.records.schema import MAX_AGE

SUBMISSION: Final = "@submission"
CASE: Final = "@case"

_SMALL: Final = 20_000
"""Records of the largest submission whose hashes are kept; larger ones are few and are read each time."""
_MOST_KEPT: Final = 2_048
_kept: dict[tuple[str, str], pl.Series] = {}


def recent_submissions(context: Context, account: str | None) -> list[Submission]:
    """Return the account's submissions whose usage Stripe could still refuse or bill again."""
    since = context.clock() - MAX_AGE - timedelta(days=1)
    return list(context.ledger.submissions.since(since, account))


def carried(context: Context, submissions: list[Submission], column: str, wanted: pl.Series) -> pl.DataFrame:
    """Return (`column`, RECORD, SUBMISSION, CASE) of each submitted record that has a wanted text in `column`."""
    texts = wanted.drop_nulls().unique().alias(column)
    hashes = texts.hash()
    found = [pl.DataFrame(schema={column: pl.String, RECORD: pl.Int64, SUBMISSION: pl.String, CASE: pl.String})]
    for submission in submissions:
        ref = RecordSetRef(submission.record_set, submission.record_set_sha256)
        if submission.records <= _SMALL and not hashes.is_in(_hashes(context, ref, column).implode()).any():
            continue
        rows = scan(context, ref).select(column, RECORD)
        hits = rows.join(texts.to_frame().lazy(), on=column, how="semi").collect()
        found.append(
            hits.with_columns(pl.lit(submission.id).alias(SUBMISSION), pl.lit(submission.case_id).alias(CASE))
        )
    return pl.concat(found)


def _hashes(context: Context, ref: RecordSetRef, column: str) -> pl.Series:
    """Return a record set's hashes, kept by the digest of what they were made from: every job may use them."""
    key = (ref.sha256, column)
    if key not in _kept:
        while len(_kept) >= _MOST_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = scan(context, ref).select(column).collect()[column].hash()
    return _kept[key]
