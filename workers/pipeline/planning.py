"""Planning: every pending record gets an outcome, before anything is sent.

The engine (`workers.remedies`) decides what the record itself allows. Three questions that no single record can
answer are asked here: has it been refused too often, was the same usage resubmitted by another case, and would it
overwrite a newer value of a pre-aggregated meter.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.kernel.errors import Corrupt
from workers.kernel.ledger.cases import Failure, HeldCase
from workers.kernel.ledger.movements import Bucket, EntryKind, Movement, Tally
from workers.pipeline.book import COUNTED_AS, FOLLOWING, RECORD, keep, movement, records_in, tally, workspace
from workers.pipeline.catalogs import Catalogs
from workers.pipeline.context import Context
from workers.pipeline.failures import WHOLE_FILE
from workers.pipeline.guards import split_closed, without_overwrites
from workers.pipeline.revisions import with_next_identifiers
from workers.records.catalog import Catalog
from workers.records.schema import FAULT, IDENTIFIER, OUTCOME, REASON, ROW
from workers.remedies import repair_frame

SLICE: Final = 100_000
"""Records that are decided at a time: bounds memory whatever the case's size."""

_ROUTES: Final = {
    Outcome.REPAIRED: (EntryKind.PLANNED, Bucket.PLANNED),
    Outcome.DEFERRED: (EntryKind.DEFERRED, Bucket.DEFERRED),
    Outcome.QUARANTINED: (EntryKind.QUARANTINED, Bucket.QUARANTINED),
}


def plan(context: Context, held: HeldCase) -> None:
    """Decide every located pending record of the case and write the plan down in one commit."""
    pending = records_in(context, held.case.id, Bucket.PENDING)
    assert pending is not None, "the book holds pending records without a record set"
    with workspace(context) as folder:
        piles = _decide(context, held, pending, folder)
        moves = list(_moves(context, held, piles))
        revalued = list(_revalued(pending, moves))
    with held.transaction() as transaction:
        for move in (*revalued, *moves):
            transaction.move(move)


@dataclass
class _Piles:
    """The decided records on local disk, a folder an outcome, in the order in which they stood."""

    folder: Path
    parts: dict[Outcome, list[Path]] = field(default_factory=dict)
    reasons: dict[Outcome, dict[str, int]] = field(default_factory=dict)

    def add(self, decided: pl.DataFrame) -> None:
        for outcome in _ROUTES:
            chosen = decided.filter(pl.col(OUTCOME) == outcome)
            if not chosen.is_empty():
                self._write(outcome, chosen)

    def _write(self, outcome: Outcome, chosen: pl.DataFrame) -> None:
        parts = self.parts.setdefault(outcome, [])
        path = self.folder / f"{outcome}-{len(parts)}.parquet"
        chosen.write_parquet(path)
        parts.append(path)
        counts = self.reasons.setdefault(outcome, {})
        for reason, count in chosen[REASON].fill_null("").value_counts().iter_rows():
            counts[reason] = counts.get(reason, 0) + count


def _decide(context: Context, held: HeldCase, pending: pl.LazyFrame, folder: Path) -> _Piles:
    failure = held.case.failure
    catalogs = Catalogs(context, failure.account)
    repeated = _repeated(pending)
    piles = _Piles(folder)
    for frame in _slices(pending):
        closed, open_ = split_closed(context, held.case, frame)
        catalog = catalogs.for_records(open_)
        engine = _repair(context, failure, catalog, open_, repeated)
        checked = without_overwrites(context, failure.account, catalog, _as_plan(engine))
        piles.add(pl.concat([with_next_identifiers(checked), closed], how="diagonal"))
        held.renew()
    return piles


def _repair(
    context: Context, failure: Failure, catalog: Catalog, frame: pl.DataFrame, repeated: pl.Series
) -> pl.DataFrame:
    """Let the engine decide. It numbers records by row, which is unique in a file but not in a case."""
    repaired = repair_frame(
        frame.drop(ROW, *FOLLOWING).with_columns(frame[RECORD].alias(ROW)),
        catalog=catalog,
        rules=context.rules,
        now=context.clock(),
        resubmit_valid=failure.kind == WHOLE_FILE,
        repeated_rows=repeated,
    )
    return repaired.rename({ROW: RECORD}).join(frame.select(ROW, *FOLLOWING), on=RECORD, maintain_order="left")


def _repeated(pending: pl.LazyFrame) -> pl.Series:
    """Return the numbers of records whose identifier an earlier one has: Stripe would count only one of them."""
    known = pending.filter(pl.col(IDENTIFIER).is_not_null())
    later = known.filter(pl.col(RECORD) != pl.col(RECORD).min().over(IDENTIFIER)).select(RECORD)
    return later.collect().to_series().alias(ROW)


def _slices(pending: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    offset = 0
    while not (frame := pending.slice(offset, SLICE).collect()).is_empty():
        yield frame
        offset += frame.height


def _as_plan(engine: pl.DataFrame) -> pl.DataFrame:
    """Take the engine's word over into the plan.

    A valid record of a file that was refused whole is sent again like a repaired one, and a row without a code of
    Stripe's is counted under the fault that was found when it was first looked at.
    """
    resent = pl.when(pl.col(OUTCOME) == Outcome.VALID).then(pl.lit(Outcome.REPAIRED.value)).otherwise(OUTCOME)
    first_look = pl.col(COUNTED_AS) == MALFORMED_RECORD
    counted = pl.when(first_look).then(pl.coalesce(FAULT, COUNTED_AS)).otherwise(COUNTED_AS)
    return engine.with_columns(resent.alias(OUTCOME), counted.alias(COUNTED_AS))


def _moves(context: Context, held: HeldCase, piles: _Piles) -> Iterator[Movement]:
    revision = len(context.ledger.submissions.of_case(held.case.id)) + 1
    for outcome, parts in piles.parts.items():
        kind, to = _ROUTES[outcome]
        records = pl.concat([pl.scan_parquet(part) for part in parts], how="diagonal")
        ref = keep(context, held.case.id, outcome, records)
        detail = {"reasons": piles.reasons[outcome]}
        yield movement(context, kind, (Bucket.PENDING, to), ref, revision=revision, detail=detail)


def _revalued(before: pl.LazyFrame, moves: list[Movement]) -> Iterator[Movement]:
    """Yield the entry that tells how much quantity the plan made readable, if any.

    A text such as `1,5` has no certain quantity until a rule reads it; the book must hold before and after.
    """
    known = sum((t for t in tally(before).values()), Tally())
    decided = sum((Tally(move.records, move.quantity) for move in moves), Tally())
    change = decided + -known
    if change.records:
        raise Corrupt(f"the plan decides {decided.records} records where {known.records} are pending")
    if change.quantity:
        yield Movement(EntryKind.REVALUED, None, Bucket.PENDING, 0, change.quantity)
