"""Writing down what Stripe refused: the records that were found, and the count of those that nobody has shown."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.ledger.breakdown import BY_CODE, detail_of
from workers.kernel.ledger.cases import CaseTransaction, Failure
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement, RecordSetRef, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline import book
from workers.pipeline.book import FINDING, ORIGIN, keep, movement, numbered, scan, workspace
from workers.pipeline.context import Context
from workers.records.schema import IDENTIFIER, QUANTITY

UNLOCATED: Final = "unlocated"
"""Our own word for the code of records whose rows, and with them Stripe's code, nobody has shown."""


@dataclass(frozen=True)
class Unlocated:
    """Records that Stripe counts as refused but whose rows were not found: reason -> how many, and -> advice."""

    counts: Mapping[str, int] = field(default_factory=dict)
    suggestions: Mapping[str, str] = field(default_factory=dict)

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

    Of a failure that was taken in before only those rows are new that could not be found then: its second event,
    or a retry after a crash, adds nothing else. `evidence` names the archived files that show the refusal. Raises
    Conflict while another worker holds the case.
    """
    case = context.ledger.cases.open(failure)
    if case.balance.failed.records:
        _take_in_found(context, failure, frames, refused_as=refused_as, event_id=event_id, unlocated=unlocated)
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


def _take_in_found(
    context: Context,
    failure: Failure,
    frames: Iterable[pl.DataFrame],
    *,
    refused_as: str,
    event_id: str,
    unlocated: Unlocated,
) -> None:
    """Let rows that are found now take the place of as many that were only counted until now."""
    with context.ledger.cases.hold(failure.case_id, context.owner, context.lease) as held:
        entries = context.ledger.queries.entries(failure.case_id)
        found = book.unlocated(entries) - Counter(unlocated.counts)
        rows = _keep_fresh(context, failure.case_id, entries, frames, refused_as)
        if rows is None:
            return
        with held.transaction() as transaction:
            for move in _located(context, failure, scan(context, rows), found, event_id):
                transaction.move(move)
            transaction.describe(kind=failure.kind, summary=failure.summary)
            transaction.wake(context.clock())


def _keep_fresh(
    context: Context, case_id: str, entries: Sequence[EntryRow], frames: Iterable[pl.DataFrame], refused_as: str
) -> RecordSetRef | None:
    """Keep those rows that the book does not hold yet, numbered after those that it holds."""
    held = [scan(context, entry.ref).select(ORIGIN) for entry in entries if entry.kind in FINDING and entry.ref]
    known = pl.concat([pl.LazyFrame(schema={ORIGIN: pl.String}), *held]).collect()
    fresh = (
        frame.join(known, left_on=IDENTIFIER, right_on=ORIGIN, how="anti", maintain_order="left")
        for frame in frames
    )
    return _keep_numbered(context, case_id, fresh, refused_as, first=known.height)


def _located(
    context: Context, failure: Failure, rows: pl.LazyFrame, found: Counter[str], event_id: str
) -> Iterator[Movement]:
    """Yield the entries that bring rows into the book: in the place of those that were only counted, then as new.

    More rows than were counted are refused as well: a whole file's, or those that a second report names.
    """
    count = rows.select(pl.len()).collect().item()
    placed = Counter(dict(_shared_out(found, count)))
    if placed.total():
        yield _located_entry(context, failure, rows.head(placed.total()), placed, event_id)
    if count > placed.total():
        more = keep(context, failure.case_id, "seen", rows.slice(placed.total()))
        yield movement(context, EntryKind.SEEN, (None, Bucket.PENDING), more, event_id=event_id)


def _located_entry(
    context: Context, failure: Failure, rows: pl.LazyFrame, placed: Counter[str], event_id: str
) -> Movement:
    by_code = detail_of({failure.code or UNLOCATED: Tally(placed.total())})
    moved = movement(
        context,
        EntryKind.LOCATED,
        (Bucket.QUARANTINED, Bucket.PENDING),
        keep(context, failure.case_id, "located", rows),
        event_id=event_id,
        detail={"reasons": dict(placed)},
    )
    return replace(moved, detail={**moved.detail, BY_CODE: by_code})


def _shared_out(found: Counter[str], rows: int) -> Iterator[tuple[str, int]]:
    """Yield how many of the rows stand for the records that were counted under each reason."""
    for reason, count in found.items():
        taken = min(count, rows)
        rows -= taken
        if taken:
            yield reason, taken


def _keep_numbered(
    context: Context, case_id: str, frames: Iterable[pl.DataFrame], refused_as: str, *, first: int = 0
) -> RecordSetRef | None:
    with workspace(context) as folder:
        parts: list[Path] = []
        for frame in frames:
            if frame.is_empty():
                continue
            path = folder / f"{len(parts)}.parquet"
            unread = frame.with_columns(pl.lit(None, pl.String).alias(QUANTITY))
            numbered(unread, first=first, refused_as=refused_as).write_parquet(path)
            first += frame.height
            parts.append(path)
        if not parts:
            return None
        return keep(context, case_id, "seen", pl.concat([pl.scan_parquet(part) for part in parts], how="diagonal"))


def _quarantine_unlocated(
    transaction: CaseTransaction, failure: Failure, unlocated: Unlocated, event_id: str
) -> None:
    if not unlocated.records:
        return
    by_code = detail_of({failure.code or UNLOCATED: Tally(unlocated.records)})
    detail = {"reasons": dict(unlocated.counts), "suggestions": dict(unlocated.suggestions), BY_CODE: by_code}
    routes = ((EntryKind.SEEN, None, Bucket.PENDING), (EntryKind.QUARANTINED, Bucket.PENDING, Bucket.QUARANTINED))
    for kind, source, to in routes:
        move = Movement(kind, source, to, unlocated.records, Decimal(0), event_id=event_id, detail=detail)
        transaction.move(move)
