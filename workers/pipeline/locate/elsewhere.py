"""Rows that stand in another file of the sender's, which Stripe may have taken: he has mended them himself, say.

A row with an identifier is found by it. One without is found by what it says once it is mended.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from workers.kernel.clock import from_text
from workers.kernel.ledger.case import Failure
from workers.pipeline.context import Context
from workers.pipeline.intake.older_files import with_held
from workers.pipeline.locate.predict import Prediction
from workers.pipeline.locate.suspects import PLACE, knowing
from workers.pipeline.lookups import Catalogs
from workers.records.identifiers import content, is_nameless
from workers.records.schema import IDENTIFIER, PLAN_COLUMNS, REASON, SOURCE, SUGGESTION, WRITTEN, with_columns_of
from workers.remedies import repair_frame

_AHEAD: Final = timedelta(days=1)
_SAID: Final = "@said"


def hold_taken(context: Context, failure: Failure, records: pl.DataFrame, prediction: Prediction) -> pl.DataFrame:
    """Give records whose usage another file may have billed a `REASON` to wait. Raises Transient."""
    sources = context.sources_of(failure.account)
    elsewhere = sources.find(records[IDENTIFIER]).rows
    others = elsewhere.join(records.select(PLACE), on=PLACE, how="anti", nulls_equal=True)
    knows = knowing(context, failure, prediction, prediction.customers_of(others))
    refused_too = knows.refused(others).select(*PLACE, WRITTEN)
    taken = others.join(refused_too, on=[*PLACE, WRITTEN], how="anti", nulls_equal=True)
    oldest = from_text(failure.window_start or "") - context.validation_delay
    held = with_held(records, pl.concat([sources.earlier(records, oldest, ()), taken], how="diagonal"))
    if held.filter(is_nameless()).is_empty():
        return held
    mended = _mended(context, failure, records)
    alike = sources.earlier(mended.filter(is_nameless()), context.clock() + _AHEAD, ())
    own = pl.Series(records[SOURCE].unique())
    told = with_held(mended, alike.filter(~pl.col(SOURCE).is_in(own.implode())))
    return held.with_columns(
        pl.coalesce(REASON, told[REASON]).alias(REASON), pl.coalesce(SUGGESTION, told[SUGGESTION]).alias(SUGGESTION)
    )


def twins(suspects: pl.DataFrame) -> pl.DataFrame:
    """Return rows without an identifier that stand in several files: one may be the copy of the other."""
    said = suspects.with_columns(content(suspects.columns).alias(_SAID)).filter(is_nameless())
    several = said.group_by(_SAID).agg(pl.col(SOURCE).n_unique().alias("files")).filter(pl.col("files") > 1)
    return said.join(several, on=_SAID, how="semi").drop(_SAID)


def _mended(context: Context, failure: Failure, records: pl.DataFrame) -> pl.DataFrame:
    """Return the records as they would be sent, under the identifiers that their sender gave."""
    catalog = Catalogs(context, failure.account, context.rules_in_force).for_records(records)
    bare = records.drop(PLAN_COLUMNS, strict=False)
    repaired = repair_frame(
        bare, catalog=catalog, rules=context.rules_in_force, now=context.clock(), resubmit_valid=False
    )
    return with_columns_of(repaired.with_columns(records[IDENTIFIER]).drop(PLAN_COLUMNS), (REASON, SUGGESTION))
