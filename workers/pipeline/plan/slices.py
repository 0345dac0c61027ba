"""Plans of large cases, made in parts by as many workers as there are.

A part is a run of the case's pending records. All parts share one moment and see the same whole-case facts, so the
plan is the same for any number of workers and any size of parts. What a part decides lies in the archive; the last
part to finish hints at the case, and any turn of the case hints at parts that are still open. A part that kills its
workers is put before a person, so that the others go on.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import polars as pl

from workers.kernel.errors import Permanent
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import Bucket
from workers.kernel.ledger.leases import MAX_DEATHS
from workers.kernel.ledger.plan_parts import PlanPart
from workers.kernel.reasons import KILLED_WORKERS
from workers.pipeline.context import Context
from workers.pipeline.heartbeat import heartbeat
from workers.pipeline.hold import quarantined
from workers.pipeline.livemode import require_own_mode
from workers.pipeline.lookups import Catalogs
from workers.pipeline.plan.decide import decide, repeated_records
from workers.pipeline.record_sets import PART_RECORDS, RECORD, keep, records_in
from workers.records.schema import REASON, SUGGESTION

_KILLED: Final = (
    "Workers died while these records were planned: look at their logs and memory, then have them planned anew."
)


def is_large(records: int) -> bool:
    """Whether so many records are planned in parts."""
    return records > PART_RECORDS


def runs(records: int) -> list[tuple[int, int]]:
    """Return (first, how many) of the runs that so many records are cut into."""
    return [(first, min(PART_RECORDS, records - first)) for first in range(0, records, PART_RECORDS)]


def draft(context: Context, held: HeldCase, records: int) -> None:
    """Write down the parts of the case's plan and hint at each."""
    as_of = context.clock()
    case = held.case
    parts = [
        PlanPart(case.id, case.version, number, first, size, as_of)
        for number, (first, size) in enumerate(runs(records))
    ]
    context.ledger.plan_parts.draft(parts)
    hint_at_open_parts(context, held)


def hint_at_open_parts(context: Context, held: HeldCase) -> None:
    """Hint at every part that is not decided yet. Raises Transient while the queue is away."""
    for part in context.ledger.plan_parts.of(held.case.id, held.case.version):
        if part.decided is None:
            context.queue.enqueue_part(part.case_id, part.version, part.number)


def is_waiting_for_parts(context: Context, held: HeldCase) -> bool:
    """Whether the case's plan is being made by other jobs."""
    return any(part.decided is None for part in _parts_of(context, held))


def decide_part(context: Context, case_id: str, version: int, number: int) -> None:
    """Decide one part; one that is decided, or of a case that has moved on, is left alone.

    Raises Conflict while another worker holds it, Permanent when workers die even over setting it aside.
    """
    case = context.ledger.cases.get(case_id)
    if case is None or case.version != version:
        return
    require_own_mode(context, case_id, livemode=case.failure.livemode)
    part = context.ledger.plan_parts.of(case_id, version)[number]
    pending = records_in(context, context.ledger.queries.entries(case_id), Bucket.PENDING)
    if part.decided is not None or pending is None:
        return
    parts, owner, lease = context.ledger.plan_parts, context.owner, context.lease
    with parts.hold(part, owner, lease) as held, heartbeat(context, partial(parts.renew, part, owner, lease)):
        left = parts.decide(part, keep(context, case_id, f"part-{number}", _decided(context, case, held, pending)))
    if not left:
        context.queue.enqueue_case(case_id, version, large=True)


def _decided(context: Context, case: Case, part: PlanPart, pending: pl.LazyFrame) -> pl.LazyFrame:
    records = pending.slice(part.first, part.records)
    if part.deaths > MAX_DEATHS:
        raise Permanent(f"a worker died {part.deaths} times over part {part.number} of its plan")
    if part.deaths == MAX_DEATHS:
        words = pl.lit(KILLED_WORKERS).alias(REASON), pl.lit(_KILLED).alias(SUGGESTION)
        return quarantined(records, records.select(RECORD, *words).collect())
    catalogs = Catalogs(context, case.failure.account)
    return decide(context, case, catalogs, records.collect(), repeated_records(pending), part.as_of).lazy()


def decided_frames(context: Context, held: HeldCase) -> list[pl.LazyFrame]:
    """Return the decisions of a plan whose parts are all decided; empty when it was not made in parts."""
    found = (part.decided for part in _parts_of(context, held))
    return [pl.scan_parquet(context.archive.fetch(decided)) for decided in found if decided is not None]


def _parts_of(context: Context, held: HeldCase) -> Sequence[PlanPart]:
    """Return the parts of the case's plan; a small case has none."""
    if not is_large(held.case.balance[Bucket.PENDING].records):
        return ()
    return context.ledger.plan_parts.of(held.case.id, held.case.version)
