"""The identifier under which a record is sent again: the same revision always gets the same one.

A refusal for format means that Stripe never took the record in, so its identifier is unused and stays. After a
refusal for data Stripe may remember the identifier, so the next revision has its own. A record without one gets its
identifier from where it stood, file and row, when it is first seen.
"""

import polars as pl

from workers.kernel.codes import Outcome
from workers.pipeline.book import DATA, REFUSED_AS, REVISION
from workers.records.identifiers import next_revisions
from workers.records.schema import IDENTIFIER, OUTCOME


def with_next_identifiers(decided: pl.DataFrame) -> pl.DataFrame:
    """Give the repaired records their next revision's number and identifier; others stay as they are."""
    sent = pl.col(OUTCOME) == Outcome.REPAIRED
    taken = sent & (pl.col(REFUSED_AS) == DATA)
    return decided.with_columns(
        pl.when(sent).then(pl.col(REVISION) + 1).otherwise(REVISION).alias(REVISION),
        pl.when(taken).then(next_revisions(pl.col(IDENTIFIER))).otherwise(IDENTIFIER).alias(IDENTIFIER),
    )
