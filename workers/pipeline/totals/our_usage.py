"""What the ledger knows of a meter's usage: what Stripe refused, and what we have sent of it since."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import Bucket, EntryKind
from workers.kernel.ledger.only_counted import unlocated
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.places import METRONOME
from workers.kernel.reasons import SENT_BEFORE
from workers.pipeline.case_key import AUDIT, COUNTER_ENTRY
from workers.pipeline.context import Context
from workers.pipeline.record_sets import FINDING, ORIGIN, RECORD, records_in, scan
from workers.pipeline.totals.sender_totals import CONTENT, DOUBT, Reader
from workers.records.identifiers import content
from workers.records.schema import EVENT_NAME, IDENTIFIER, REASON, with_columns_of

_MADE: Final = "^mm-"
"""Begins the identifiers that we make for records which their sender gave none."""
_ON_ITS_WAY: Final = "a record of ours is on its way and may count already"
_UNKNOWN: Final = "a record of ours may count, and whether it does is not known"


@dataclass(frozen=True, eq=False)
class OurUsage:
    """`refused` has `IDENTIFIER` and `CONTENT` of what Stripe refused; `sent` is what we sent, as read by `Reader`.

    `unnamed` counts refused records of the meter whose rows nobody has found: any customer's may be among them.
    """

    refused: pl.DataFrame
    sent: pl.DataFrame
    unnamed: int


def our_usage(context: Context, account: str | None, reader: Reader, since: datetime) -> OurUsage:
    """Return what the account's cases tell of the meter that have changed since usage of `since` could be refused.

    A counter-entry and what it takes back come to nothing, so neither is among what was sent; an audit's case is
    about no record that Stripe refused.
    """
    refused, sent = [_nothing_refused()], [reader.nothing()]
    elsewhere = context.ledger.submissions.since(None, account, target=METRONOME)
    unnamed = 0
    for case, journal in context.ledger.queries.journals_since(since, account):
        if case.failure.kind in {COUNTER_ENTRY, AUDIT}:
            continue
        refused += _refused(context, journal, reader.meter.event_name)
        sent += _sent(context, journal, reader, [one.id for one in elsewhere if one.case_id == case.id])
        unnamed += unlocated(journal).total() if _tells_of(case, reader) else 0
    return OurUsage(pl.concat(refused), pl.concat(sent), unnamed)


def _tells_of(case: Case, reader: Reader) -> bool:
    return case.failure.event_name == reader.meter.event_name or case.failure.meter_id == reader.meter.id


def _nothing_refused() -> pl.DataFrame:
    return pl.DataFrame(schema={IDENTIFIER: pl.String, CONTENT: pl.UInt64})


def _refused(context: Context, journal: Sequence[EntryRow], event_name: str) -> Iterator[pl.DataFrame]:
    """Yield the rows that were found, as their sender wrote them."""
    for entry in journal:
        if entry.kind in FINDING and entry.ref is not None:
            rows = scan(context, entry.ref).filter(pl.col(EVENT_NAME) == event_name).collect()
            given = pl.when(~pl.col(ORIGIN).str.contains(_MADE)).then(ORIGIN)
            yield rows.select(given.alias(IDENTIFIER), content(rows.columns).hash().alias(CONTENT))


def _sent(
    context: Context, journal: Sequence[EntryRow], reader: Reader, elsewhere: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Yield what counts at Stripe by the journal, and with a doubt what may; without what was sent `elsewhere`."""
    just_sent = any(entry.kind == EntryKind.SENT and entry.at > reader.settled for entry in journal)
    doubts = {
        Bucket.CONFIRMED: _ON_ITS_WAY if just_sent else None,
        Bucket.SUBMITTED: _ON_ITS_WAY,
        Bucket.QUARANTINED: _UNKNOWN,
    }
    for bucket, doubt in doubts.items():
        records = records_in(context, journal, bucket)
        if records is None:
            continue
        for submission_id in elsewhere:
            theirs = records_in(context, journal, bucket, submission_id=submission_id)
            if theirs is not None:
                records = records.join(theirs, on=RECORD, how="anti")
        if bucket is Bucket.QUARANTINED:
            records = with_columns_of(records, [REASON]).filter(pl.col(REASON).is_in(SENT_BEFORE))
        read = reader.read(records.filter(pl.col(EVENT_NAME) == reader.meter.event_name).collect())
        yield read if doubt is None else read.with_columns(pl.lit(doubt).alias(DOUBT))
