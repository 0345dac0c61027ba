"""Records that are put before a person as soon as they are seen: what Stripe says of them does not agree."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from workers.kernel.ledger.movements import Bucket, EntryKind, Movement, RecordSetRef
from workers.pipeline.book import RECORD, keep, movement, reasons_of, scan
from workers.pipeline.context import Context
from workers.pipeline.guards import quarantined
from workers.records.schema import REASON, SUGGESTION
from workers.remedies.failed_rows import ROW_CONTRADICTED
from workers.reports.failed_records import ALREADY_EXISTS

PERHAPS_IMPORTED: Final = "perhaps_imported"
"""Of a file that failed after Stripe had taken some of it in."""
IN_OLDER_FILE: Final = "in_older_file"
"""The same usage stands in a file that the sender wrote before the one that Stripe refused."""
ROW_COUNT_DIFFERS: Final = "row_count_differs"
"""Of a failed-records file that tells more rows than Stripe counts."""
HELD_AT_SIGHT: Final = (PERHAPS_IMPORTED, IN_OLDER_FILE, ALREADY_EXISTS, ROW_COUNT_DIFFERS, ROW_CONTRADICTED)


def held_moves(context: Context, case_id: str, found: RecordSetRef | None) -> Iterator[Movement]:
    """Yield the entry that quarantines those of the found records that came with a `REASON`, if any did."""
    if found is None:
        return
    records = scan(context, found)
    held = records.filter(pl.col(REASON).is_not_null()).select(RECORD, REASON, SUGGESTION).collect()
    if held.is_empty():
        return
    ref = keep(context, case_id, "held", quarantined(records, held))
    route = (Bucket.PENDING, Bucket.QUARANTINED)
    yield movement(context, EntryKind.QUARANTINED, route, ref, detail={"reasons": reasons_of(held)})
