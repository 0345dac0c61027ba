"""Deciding a run of pending records: the engine's word, and what no single record can tell."""

from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.kernel.ledger.case import Case
from workers.pipeline.case_key import WHOLE_FILE
from workers.pipeline.context import Context
from workers.pipeline.lookups import Catalogs
from workers.pipeline.record_sets import COUNTED_AS, FOLLOWING, RECORD, with_next_identifiers
from workers.pipeline.submit.guards import split_closed
from workers.records.schema import FAULT, IDENTIFIER, OUTCOME, ROW
from workers.remedies import repair_frame

RULES: Final = "@rules"
"""The digest of the rules that a record was decided under; the plan's entries tell it."""


def decide(
    context: Context, case: Case, catalogs: Catalogs, frame: pl.DataFrame, repeated: pl.Series, as_of: datetime
) -> pl.DataFrame:
    """Return pending records with their outcome, the repaired ones under the identifier of their next revision.

    They are judged by the rules of the catalogs. `repeated` are the numbers of records whose identifier an earlier
    one of the case has (`repeated_records`); `as_of` decides which times Stripe takes, and is the same for all
    slices of a plan.
    """
    closed, open_ = split_closed(context, case, frame)
    repaired = repair_frame(
        # The engine numbers records by row, which is unique in a file but not in a case.
        open_.drop(ROW, *FOLLOWING).with_columns(open_[RECORD].alias(ROW)),
        catalog=catalogs.for_records(open_),
        rules=catalogs.rules,
        now=as_of,
        resubmit_valid=case.failure.kind == WHOLE_FILE,
        repeated_rows=repeated,
    )
    following = open_.select(ROW, *FOLLOWING)
    engine = repaired.rename({ROW: RECORD}).join(following, on=RECORD, maintain_order="left")
    decided = pl.concat([with_next_identifiers(_as_plan(engine)), closed], how="diagonal")
    return decided.sort(RECORD).with_columns(pl.lit(catalogs.rules.digest).alias(RULES))


def repeated_records(pending: pl.LazyFrame) -> pl.Series:
    """Return the numbers of records whose identifier an earlier one has: Stripe would count only one of them."""
    known = pending.filter(pl.col(IDENTIFIER).is_not_null())
    later = known.filter(pl.col(RECORD) != pl.col(RECORD).min().over(IDENTIFIER)).select(RECORD)
    return later.collect().to_series().alias(ROW)


def _as_plan(engine: pl.DataFrame) -> pl.DataFrame:
    """Take the engine's word over into the plan.

    A valid record of a file that was refused whole is sent again like a repaired one, and a row without a code of
    Stripe's is counted under the fault that was found when it was first looked at.
    """
    resent = pl.when(pl.col(OUTCOME) == Outcome.VALID).then(pl.lit(Outcome.REPAIRED.value)).otherwise(OUTCOME)
    first_look = pl.col(COUNTED_AS) == MALFORMED_RECORD
    counted = pl.when(first_look).then(pl.coalesce(FAULT, COUNTED_AS)).otherwise(COUNTED_AS)
    return engine.with_columns(resent.alias(OUTCOME), counted.alias(COUNTED_AS))
