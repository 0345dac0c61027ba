"""The identifier under which a record is sent again: the same revision always gets the same one.

A refusal for format means that Stripe never took the record in, so its identifier is unused and stays. After a
refusal for data Stripe may remember the identifier, so the next revision has its own. A record without one gets its
identifier from where it stood: file and row.
"""

import polars as pl

from workers.kernel.codes import Outcome
from workers.pipeline.book import DATA, ORIGIN, REFUSED_AS, REVISION
from workers.records.identifiers import revision_identifier, row_identifier
from workers.records.schema import IDENTIFIER, OUTCOME


def with_next_identifiers(decided: pl.DataFrame) -> pl.DataFrame:
    """Give the repaired records their next revision's number and identifier; others stay as they are."""
    sent = pl.col(OUTCOME) == Outcome.REPAIRED
    revision = pl.when(sent).then(pl.col(REVISION) + 1).otherwise(REVISION)
    origin = pl.coalesce(ORIGIN, row_identifier())
    fresh = revision_identifier(origin, pl.col(REVISION))
    numbered = decided.with_columns(revision.alias(REVISION), origin.alias(ORIGIN))
    kept = pl.coalesce(IDENTIFIER, ORIGIN)
    identifier = pl.when(pl.col(REFUSED_AS) == DATA).then(fresh).otherwise(kept)
    return numbered.with_columns(pl.when(sent).then(identifier).otherwise(IDENTIFIER).alias(IDENTIFIER))
