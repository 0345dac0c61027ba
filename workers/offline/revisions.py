"""Identifiers of records that Stripe refused for their data: offline, as the service gives them.

Stripe keeps an identifier unique for at least 24 hours (stripe-python, `billing.MeterEvent`, `identifier`), and may
remember that of a record which it took in and refused for its data later: under it, the repaired record would be
skipped as a duplicate. What it refused for its form it never took in; its identifier is free.
"""

from collections.abc import Sequence
from typing import Final, Literal

import polars as pl

from workers.kernel.codes import Outcome
from workers.offline.duplicates import FIRST, read_rows
from workers.offline.scan import FileFacts, portions_of, repeats_of
from workers.records.identifiers import is_nameless, next_revisions, revisions
from workers.records.schema import CHANGES, CODE, IDENTIFIER, OUTCOME, ROW
from workers.remedies.apply import stated
from workers.remedies.codes import stripes_codes

RefusedFor = Literal["form", "data"]

NEXT_REVISION: Final = "next_revision"
"""What stands as the remedy of a changed identifier."""
_REVISION: Final = "@revision"


def taken_revisions(facts: Sequence[FileFacts]) -> list[pl.DataFrame]:
    """Find by row of each file the latest revision, from the second on, that the files show of its record.

    A record passes by a later revision than its own: Stripe may hold that one as well. Only parts that hold rows of
    one record are read.
    """
    groups = repeats_of(facts, IDENTIFIER).select(ROW, FIRST)
    read = read_rows(portions_of(facts), groups[ROW].sort(), [IDENTIFIER])
    shown = (records.select(ROW, revisions(pl.col(IDENTIFIER)).alias(_REVISION)) for records in read)
    known = pl.concat([pl.DataFrame(schema={ROW: pl.Int64, _REVISION: pl.Int64}), *shown])
    latest = groups.join(known, on=ROW).with_columns(pl.col(_REVISION).max().over(FIRST))
    taken = latest.filter(pl.col(_REVISION) > 1).select(ROW, _REVISION)
    return [of_file.within(taken) for of_file in facts]


def taken_revision(taken: pl.DataFrame) -> pl.Expr:
    """Return what `taken_revisions` found for each record of the file by its `ROW`; null where no row shows one."""
    if taken.is_empty():
        return pl.lit(None, pl.Int64)
    return pl.col(ROW).replace_strict(taken[ROW], taken[_REVISION], default=None, return_dtype=pl.Int64)


def revised(treated: pl.DataFrame, refused_for: RefusedFor | None, taken: pl.DataFrame) -> pl.DataFrame:
    """Give records that were refused for their data, and are to be sent, the next revision's identifier.

    `refused_for` null: where Stripe gave a code, it was for the data. What has no identifier stays without one.
    """
    to_be_sent = pl.col(OUTCOME).is_in([Outcome.REPAIRED, Outcome.DEFERRED])
    changed = treated.select(to_be_sent & ~is_nameless() & _for_data(refused_for, treated)).to_series()
    if not changed.any():
        return treated
    identifier = (
        pl.when(changed).then(next_revisions(pl.col(IDENTIFIER), taken_revision(taken))).otherwise(IDENTIFIER)
    )
    change = pl.struct(
        column=pl.lit(IDENTIFIER), before=IDENTIFIER, after=identifier, remedy=pl.lit(NEXT_REVISION)
    ).struct.json_encode()
    listed = pl.format("[{}]", pl.concat_str(pl.col(CHANGES).str.slice(1).str.head(-1), change, separator=",",
                                             ignore_nulls=True))  # fmt: skip
    return treated.with_columns(
        identifier.alias(IDENTIFIER), pl.when(changed).then(listed).otherwise(CHANGES).alias(CHANGES)
    )


def _for_data(refused_for: RefusedFor | None, records: pl.DataFrame) -> pl.Expr:
    if refused_for is not None:
        return pl.lit(refused_for == "data")
    return pl.col(CODE).is_not_null() & pl.any_horizontal(stated(code, records) for code in stripes_codes())
