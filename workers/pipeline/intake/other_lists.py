"""Rows without an identifier that another list of failed records has told, where a person has given one of the two.

The file that the Dashboard offers and the one that Stripe's event names need not be alike, and one may have been
saved anew: then they are two lists and two cases (`one_list`). Rows with an identifier are known again by it before
they are sent. Of the others only what they say shows that they may be the same, so a person decides.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

import polars as pl

from workers.kernel.ledger.case import Failure
from workers.kernel.ledger.journal import RecordSetRef
from workers.kernel.reasons import TOLD_TWICE
from workers.pipeline.case_key import FAILED_RECORDS
from workers.pipeline.context import Context
from workers.pipeline.record_sets import FINDING, scan
from workers.records.identifiers import content, is_made
from workers.records.schema import MAX_AGE, REASON, SUGGESTION, with_columns_of

_SAID: Final = "@said"
_ADVICE: Final = "@advice"
_SCHEMA: Final = {_SAID: pl.String, _ADVICE: pl.String}
_ALIKE: Final = "{} has a row that says the same: if both tell one refusal, write this one off; else release it."


def hold_told(context: Context, failure: Failure, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the records of a list; those that another list tells as well have a `REASON`, if they had none."""
    others = None
    for frame in frames:
        if frame.select(is_made().any()).item():
            others = _others(context, failure) if others is None else others
            yield _held(frame, others)
        else:
            yield frame


def _held(frame: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    said = with_columns_of(frame, (REASON, SUGGESTION)).with_columns(content(frame.columns).alias(_SAID))
    told = said.join(others, on=_SAID, how="left", maintain_order="left")
    held = pl.col(REASON).is_null() & pl.col(_ADVICE).is_not_null() & is_made()
    return told.with_columns(
        pl.when(held).then(pl.lit(TOLD_TWICE)).otherwise(REASON).alias(REASON),
        pl.when(held).then(_ADVICE).otherwise(SUGGESTION).alias(SUGGESTION),
    ).drop(_SAID, _ADVICE)


def _others(context: Context, failure: Failure) -> pl.DataFrame:
    """Return what the rows of other lists say, and the advice that names their case.

    Two import sets are two uploads, each refused by itself; so of one of the two lists nobody knows it.
    """
    since, by_hand = context.clock() - MAX_AGE - timedelta(days=1), failure.import_set_id is None
    found = context.ledger.queries.sets_of_kind(
        since, failure.account, FAILED_RECORDS, FINDING, of_import_sets=by_hand
    )
    rows = [_said(context, case_id, ref) for case_id, ref in found if case_id != failure.case_id]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *rows]).unique(_SAID, keep="first")


def _said(context: Context, case_id: str, ref: RecordSetRef) -> pl.DataFrame:
    rows, advice = scan(context, ref), pl.lit(_ALIKE.format(case_id)).alias(_ADVICE)
    return rows.select(content(rows.collect_schema().names()).alias(_SAID), advice).collect()
