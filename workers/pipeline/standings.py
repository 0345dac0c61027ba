"""What stands where in a case, by code; and what waits for a person, by its cause, with whose it is."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Final

import polars as pl

from workers.kernel.ledger.by_code import by_code
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.case_facts import LONGEST_NAME, kept_name
from workers.kernel.ledger.journal import Bucket, Tally
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.standings import Cause, Standing
from workers.pipeline.context import Stores
from workers.pipeline.record_sets import COUNTED_AS, records_in
from workers.records import quantities
from workers.records.schema import CUSTOMER, EVENT_NAME, QUANTITY, REASON, with_columns_of

MOST_CAUSES: Final = 50
"""Causes of one case that are told apart by customer and by meter; in the others these are left out."""
_CAUSE: Final = (COUNTED_AS, REASON, EVENT_NAME, CUSTOMER)


def standings(stores: Stores, case: Case, journal: Sequence[EntryRow]) -> list[Standing]:
    """Return what stands where in a case. Raises as the archive does."""
    sums: dict[tuple[Bucket, Cause], Tally] = {}
    for bucket, cause, tally in (*_by_code(journal), *_waiting(stores, case, journal)):
        kept = Cause(*map(kept_name, astuple(cause)))  # two may be one then
        sums[bucket, kept] = sums.get((bucket, kept), Tally()) + tally
    return [Standing(bucket, cause, tally) for (bucket, cause), tally in sums.items()]


def _by_code(journal: Sequence[EntryRow]) -> Iterator[tuple[Bucket, Cause, Tally]]:
    for code, buckets in by_code(journal).items():
        for bucket, tally in buckets.items():
            if bucket is not Bucket.QUARANTINED and tally.records:
                yield bucket, Cause(code), tally


def _waiting(stores: Stores, case: Case, journal: Sequence[EntryRow]) -> Iterator[tuple[Bucket, Cause, Tally]]:
    """Yield what waits for a person: records with a row by what stands in them, the others as they are counted."""
    if not case.balance[Bucket.QUARANTINED].records:
        return
    failure = case.failure
    for reason, number in unlocated(journal).items():
        yield Bucket.QUARANTINED, Cause(failure.code or "", reason, failure.event_name or ""), Tally(number)
    records = records_in(stores, journal, Bucket.QUARANTINED)
    for cause, tally in (_tallies(records) if records is not None else {}).items():
        yield Bucket.QUARANTINED, cause, tally


def _tallies(records: pl.LazyFrame) -> dict[Cause, Tally]:
    """Count records and sum their quantities by cause; of records of several meters only the count is told."""
    names = (pl.col(name).fill_null("").str.replace_all("\0", "").str.strip_chars() for name in _CAUSE)
    shown = with_columns_of(records, (*_CAUSE, QUANTITY)).select(
        *(name.str.slice(0, LONGEST_NAME) for name in names), QUANTITY
    )
    frame = _without_rare(_without_rare(shown.collect(), CUSTOMER), EVENT_NAME)
    parts = frame.partition_by(_CAUSE, as_dict=True, maintain_order=True).items()
    return {
        Cause(*map(str, key)): Tally(
            part.height, quantities.total(part[QUANTITY] if key[2] else part[QUANTITY][:0])
        )
        for key, part in parts
    }


def _without_rare(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Leave a column out of all but the commonest causes."""
    common = frame.group_by(_CAUSE).len().sort("len", *_CAUSE, descending=[True, *(False for _ in _CAUSE)])
    told = common.head(MOST_CAUSES).select(*_CAUSE, pl.lit(value=True).alias("told"))
    kept = frame.join(told, on=_CAUSE, how="left", maintain_order="left")
    return kept.with_columns(pl.when(pl.col("told")).then(column).otherwise(pl.lit("")).alias(column)).drop("told")
