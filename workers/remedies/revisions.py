"""Identifiers of records that Stripe refused for their data: offline, as the service gives them.

Stripe keeps an identifier unique for at least 24 hours (stripe-python, `billing.MeterEvent`, `identifier`), and may
remember that of a record which it took in and refused for its data later: under it, the repaired record would be
skipped as a duplicate. What it refused for its form it never took in; its identifier is free.
"""

from typing import Final, Literal

import polars as pl

from workers.kernel.codes import Code, Outcome
from workers.records.content import is_nameless
from workers.records.identifiers import next_revisions
from workers.records.schema import CHANGES, CODE, IDENTIFIER, OUTCOME
from workers.remedies.treatment import stated

RefusedFor = Literal["form", "data"]

NEXT_REVISION: Final = "next_revision"
"""What stands as the remedy of a changed identifier."""


def revised(treated: pl.DataFrame, refused_for: RefusedFor | None) -> pl.DataFrame:
    """Give records that were refused for their data, and are to be sent, the next revision's identifier.

    `refused_for` null: where Stripe gave a code, it was for the data. What has no identifier stays without one.
    """
    to_be_sent = pl.col(OUTCOME).is_in([Outcome.REPAIRED, Outcome.DEFERRED])
    changed = treated.select(to_be_sent & ~is_nameless() & _for_data(refused_for)).to_series()
    if not changed.any():
        return treated
    identifier = pl.when(changed).then(next_revisions(pl.col(IDENTIFIER))).otherwise(IDENTIFIER)
    change = pl.struct(
        column=pl.lit(IDENTIFIER), before=IDENTIFIER, after=identifier, remedy=pl.lit(NEXT_REVISION)
    ).struct.json_encode()
    listed = pl.format("[{}]", pl.concat_str(pl.col(CHANGES).str.slice(1).str.head(-1), change, separator=",",
                                             ignore_nulls=True))  # fmt: skip
    return treated.with_columns(
        identifier.alias(IDENTIFIER), pl.when(changed).then(listed).otherwise(CHANGES).alias(CHANGES)
    )


def _for_data(refused_for: RefusedFor | None) -> pl.Expr:
    if refused_for is not None:
        return pl.lit(refused_for == "data")
    return pl.col(CODE).is_not_null() & pl.any_horizontal(stated(code) for code in Code)
