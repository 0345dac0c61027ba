"""The records of a case that wait for a person, and those of them that somebody means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import polars as pl

from workers.kernel.errors import InputUnusable
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.context import Context
from workers.pipeline.desk.order import MOST_EXAMPLES, Example
from workers.pipeline.livemode import require_own_mode
from workers.pipeline.record_sets import COUNTED_AS, ORIGIN, RECORD, records_in
from workers.records import quantities
from workers.records.schema import CUSTOMER, EVENT_NAME, QUANTITY, REASON, TIMESTAMP, VALUE, with_columns_of

SHOWN: Final = (ORIGIN, TIMESTAMP, EVENT_NAME, CUSTOMER, VALUE)
"""What a person sees of a record."""


@dataclass(frozen=True)
class Chosen:
    """Which of the waiting records are meant; nothing named means all of them."""

    reason: str | None = None
    code: str | None = None
    meter: str | None = None
    records: Sequence[int] = ()

    @classmethod
    def from_json(cls, named: Mapping[str, Any]) -> Self:
        """Return what an act's arguments name."""
        return cls(**{**named, "records": tuple(named.get("records", ()))})

    def of(self, waiting: pl.LazyFrame) -> pl.LazyFrame:
        """Return the chosen ones of a case's waiting records."""
        named = {REASON: self.reason, COUNTED_AS: self.code, EVENT_NAME: self.meter}
        for column, value in named.items():
            waiting = waiting if value is None else waiting.filter(pl.col(column) == value)
        return waiting.filter(pl.col(RECORD).is_in(list(self.records))) if self.records else waiting

    @property
    def is_all(self) -> bool:
        return self == Chosen()


def require_case(context: Context, case_id: str) -> Case:
    """Return a case of our own mode. Raises InputUnusable."""
    case = context.ledger.cases.get(case_id)
    if case is None:
        raise InputUnusable("there is no such case", where=case_id, mend="`metermend cases` lists them")
    require_own_mode(context, case_id, livemode=case.failure.livemode)
    return case


def waiting(context: Context, journal: Sequence[EntryRow], bucket: Bucket) -> pl.LazyFrame:
    """Return the records of a bucket, none where it has none with a row."""
    there = records_in(context, journal, bucket)
    rows = pl.LazyFrame(schema={RECORD: pl.Int64}) if there is None else there
    return with_columns_of(rows, (*SHOWN, QUANTITY, COUNTED_AS, REASON))


def quantities_of(records: pl.DataFrame) -> Mapping[str, str]:
    """Return the sum of the readable quantities by event name, as decimal text."""
    parts = records.partition_by(EVENT_NAME, as_dict=True, maintain_order=True).items()
    return {str(key[0]): quantities.to_text(quantities.total(part[QUANTITY])) for key, part in parts}


def examples_of(case_id: str, records: pl.DataFrame, after: str) -> list[Example]:
    """Return the first records as they stand, all of which become the same."""
    shown = records.head(MOST_EXAMPLES).select(RECORD, *SHOWN).iter_rows(named=True)
    return [
        Example(case_id, row[RECORD], row[ORIGIN], {name: row[name] for name in SHOWN[1:]}, {"": after})
        for row in shown
    ]
