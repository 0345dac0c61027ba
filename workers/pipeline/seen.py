"""Writing down what Stripe refused: the records that were found, and the count of those that nobody has shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import polars as pl

from workers.kernel.ledger.breakdown import BY_CODE, detail_of
from workers.kernel.ledger.cases import CaseTransaction, Failure
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement, RecordSetRef, Tally
from workers.pipeline.book import keep, movement, numbered, workspace
from workers.pipeline.context import Context
from workers.records.schema import QUANTITY


@dataclass(frozen=True)
class Unlocated:
    """Records that Stripe counts as refused but whose rows could not be found: `reason` -> how many."""

    counts: Mapping[str, int] = field(default_factory=dict)
    suggestion: str | None = None

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


def take_in_seen(
    context: Context,
    failure: Failure,
    frames: Iterable[pl.DataFrame],
    *,
    refused_as: str,
    event_id: str,
    unlocated: Unlocated,
    evidence: Mapping[str, str] | None = None,
) -> str:
    """Open the failure's case with its refused records and return the case's id.

    A failure that was taken in before is left as it is: its second event, or a retry after a crash, adds nothing.
    `evidence` names the archived files that show the refusal. Raises Conflict while another worker holds the case.
    """
    case = context.ledger.cases.open(failure)
    if case.balance.failed.records:
        return case.id
    seen = _keep_numbered(context, case.id, frames, refused_as)
    with context.ledger.cases.hold(case.id, context.owner, context.lease) as held:
        if held.case.balance.failed.records:
            return case.id
        with held.transaction() as transaction:
            if seen is not None:
                moved = movement(
                    context, EntryKind.SEEN, (None, Bucket.PENDING), seen, event_id=event_id, detail=evidence
                )
                transaction.move(moved)
            _quarantine_unlocated(transaction, failure, unlocated, event_id)
            transaction.wake(context.clock())
    return case.id


def _keep_numbered(
    context: Context, case_id: str, frames: Iterable[pl.DataFrame], refused_as: str
) -> RecordSetRef | None:
    with workspace(context) as folder:
        first = 0
        parts: list[Path] = []
        for frame in frames:
            path = folder / f"{len(parts)}.parquet"
            unread = frame.with_columns(pl.lit(None, pl.String).alias(QUANTITY))
            numbered(unread, first=first, refused_as=refused_as).write_parquet(path)
            first += frame.height
            parts.append(path)
        if not first:
            return None
        return keep(context, case_id, "seen", pl.concat([pl.scan_parquet(part) for part in parts], how="diagonal"))


def _quarantine_unlocated(
    transaction: CaseTransaction, failure: Failure, unlocated: Unlocated, event_id: str
) -> None:
    if not unlocated.records:
        return
    by_code = detail_of({failure.code or "unlocated": Tally(unlocated.records)})
    detail = {"reasons": dict(unlocated.counts), "suggestion": unlocated.suggestion, BY_CODE: by_code}
    routes = ((EntryKind.SEEN, None, Bucket.PENDING), (EntryKind.QUARANTINED, Bucket.PENDING, Bucket.QUARANTINED))
    for kind, source, to in routes:
        move = Movement(kind, source, to, unlocated.records, Decimal(0), event_id=event_id, detail=detail)
        transaction.move(move)
