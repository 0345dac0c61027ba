"""What somebody has let go, by name, that a guard would stop: it holds until the case next sends anything."""

import polars as pl

from workers.kernel.ledger.case import Case
from workers.kernel.ledger.movements import EntryKind
from workers.pipeline.book import RECORD, scan
from workers.pipeline.context import Context


def approved(context: Context, case: Case, word: str) -> pl.DataFrame:
    """Return the records of which an approval's detail says `word`, since the case last sent anything."""
    entries = context.ledger.queries.entries(case.id)
    sent = max((entry.number for entry in entries if entry.kind == EntryKind.INTENDED), default=0)
    words = [e.ref for e in entries if e.number > sent and e.kind == EntryKind.APPROVED and e.detail.get(word)]
    named = [scan(context, ref).select(RECORD) for ref in words if ref is not None]
    return pl.concat([pl.LazyFrame(schema={RECORD: pl.Int64}), *named]).collect()
