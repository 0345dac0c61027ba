"""Finding records by the journal: which records of a case stand in a bucket, and writing sets of them.

A record set of a case carries, beside the canonical columns, what follows a record through its revisions:

- `@record`: its number within the case, from 0;
- `@revision`: how many corrected revisions of it were sent;
- `@origin`: the identifier that its sender gave;
- `@counted_as`: the code that it is counted under;
- `@refused_as`: `format` (Stripe never took it in, so its identifier is unused) or `data` (Stripe may remember it).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl

from workers.kernel.codes import MALFORMED_RECORD, Outcome
from workers.kernel.ledger.by_code import BY_CODE, detail_of
from workers.kernel.ledger.cases import HeldCase
from workers.kernel.ledger.journal import OURSELVES, Bucket, EntryKind, Movement, RecordSetRef, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.submissions import Submission
from workers.pipeline.context import Context, Stores
from workers.records import quantities
from workers.records.identifiers import next_revisions
from workers.records.schema import CODE, FAILURE_COLUMNS, IDENTIFIER, OUTCOME, QUANTITY, REASON, with_columns_of

PART_RECORDS: Final = 100_000
"""Records that are decided at a time: bounds memory whatever the case's size."""

RECORD: Final = "@record"
REVISION: Final = "@revision"
ORIGIN: Final = "@origin"
REFUSED_AS: Final = "@refused_as"
COUNTED_AS: Final = "@counted_as"
FOLLOWING: Final = (RECORD, REVISION, ORIGIN, REFUSED_AS, COUNTED_AS)
"""What follows a record through its revisions, beside what the engine knows of it."""
FINDING: Final = (EntryKind.SEEN, EntryKind.LOCATED)
"""The entries that bring rows into the journal which were not in it before."""
FORMAT: Final = "format"
DATA: Final = "data"


@dataclass(frozen=True)
class Standing:
    """A record set that stands in a bucket, and the sets of those that have left it since."""

    records: RecordSetRef
    left: tuple[RecordSetRef, ...] = ()


def standing(entries: Sequence[EntryRow], bucket: Bucket) -> Sequence[Standing]:
    """Tell from the journal in which record sets the located records of `bucket` lie."""
    sets: list[Standing] = []
    located = 0
    for entry in entries:
        ref = entry.ref
        if ref is None:
            continue
        if entry.to_bucket == bucket:
            sets.append(Standing(ref))
            located += entry.records
        elif entry.from_bucket == bucket and entry.kind != EntryKind.LOCATED:
            whole = Standing(ref)
            others = [s for s in sets if s != whole]
            sets = others if whole in sets else [Standing(s.records, (*s.left, ref)) for s in sets]
            located -= entry.records
            sets = sets if located else []
    return sets


def records_in(
    stores: Stores, journal: Sequence[EntryRow], bucket: Bucket, *, submission_id: str | None = None
) -> pl.LazyFrame | None:
    """Return a case's records that stand in `bucket`, of one submission if named; None when there are none."""
    there = _standing_of(journal, bucket, submission_id)
    frames = [remaining(stores, one) for one in there]
    return pl.concat(frames, how="diagonal") if frames else None


def remaining(stores: Stores, there: Standing) -> pl.LazyFrame:
    """Return the records of a set that have not left it."""
    records = scan(stores, there.records)
    for ref in there.left:
        records = records.join(scan(stores, ref).select(RECORD), on=RECORD, how="anti", maintain_order="left")
    return records


def keep_records_in(
    context: Context, held: HeldCase, bucket: Bucket, label: str, *, submission_id: str | None = None
) -> RecordSetRef | None:
    """Return a record set of what stands in `bucket`: one that exists already, or one written now."""
    there = _standing_of(held.journal, bucket, submission_id)
    if len(there) == 1 and not there[0].left:
        return there[0].records
    records = records_in(context, held.journal, bucket, submission_id=submission_id)
    return None if records is None else keep(context, held.case.id, label, records)


def _standing_of(journal: Sequence[EntryRow], bucket: Bucket, submission_id: str | None) -> Sequence[Standing]:
    return standing([e for e in journal if submission_id in (None, e.submission_id)], bucket)


def as_before_plan(context: Context, journal: Sequence[EntryRow], records: pl.LazyFrame) -> pl.LazyFrame:
    """Return records as they were when they were last pending, but for what the journal has counted since.

    So they can be planned anew: what Stripe refused is there to be found and mended again.
    """
    entries = [e for e in journal if e.to_bucket == Bucket.PENDING]
    return _as_in(context, entries, records, (QUANTITY, COUNTED_AS))


def as_refused(context: Context, journal: Sequence[EntryRow], records: pl.LazyFrame) -> pl.LazyFrame:
    """Return records that were sent as they were when Stripe last refused them, under the identifiers of now.

    So they can be judged anew, as the sender gave them: what was sent of them has no fault to be found any more.
    """
    entries = [e for e in journal if e.kind in (*FINDING, EntryKind.REFUSED)]
    return _as_in(context, entries, records, (QUANTITY, COUNTED_AS, IDENTIFIER, REVISION, REFUSED_AS))


def as_they_waited(context: Context, journal: Sequence[EntryRow], records: pl.LazyFrame) -> pl.LazyFrame:
    """Return records as they stood when they last waited, by this journal, but for what has been counted since."""
    entries = [e for e in journal if e.to_bucket in (Bucket.QUARANTINED, Bucket.DEFERRED)]
    return _as_in(context, entries, records, (QUANTITY, COUNTED_AS))


def _as_in(
    context: Context, entries: Sequence[EntryRow], records: pl.LazyFrame, kept: Sequence[str]
) -> pl.LazyFrame:
    """Return records as the latest of the entries that names them has them, but for the columns that are `kept`."""
    counted = records.select(RECORD, *kept)
    missing = counted.select(RECORD).collect()
    found: list[pl.LazyFrame] = []
    for entry in reversed(entries):
        if missing.is_empty():
            break
        if entry.ref is not None:
            there = scan(context, entry.ref).join(missing.lazy(), on=RECORD, how="semi")
            found.append(there)
            missing = missing.join(there.select(RECORD).collect(), on=RECORD, how="anti")
    before = pl.concat(found, how="diagonal").drop(kept, strict=False)
    return before.join(counted, on=RECORD).sort(RECORD)


def scan(stores: Stores, ref: RecordSetRef) -> pl.LazyFrame:
    """Open a record set of the archive. Raises Corrupt when its bytes are not those that were kept."""
    return pl.scan_parquet(path_of(stores, ref))


def path_of(stores: Stores, ref: RecordSetRef) -> Path:
    """Return the local path of a record set, to be read only. Raises as `Archive.fetch` does.

    Its digest is computed once in a piece of work: no other file may take its place under that name.
    """
    if ref not in stores.verified:
        stores.verified[ref] = stores.archive.fetch(ref)
    return stores.verified[ref]


def keep(context: Context, case_id: str, label: str, records: pl.LazyFrame | pl.DataFrame) -> RecordSetRef:
    """Write records into the archive as an immutable record set, without holding them all in memory."""
    with workspace(context) as folder:
        path = folder / f"{label}.parquet"
        records.lazy().sink_parquet(path, compression="zstd", statistics=False, maintain_order=True)
        ref = context.archive.keep(case_id, label, path)
    kept = context.archive.local_path(ref)
    if kept is not None:
        context.verified[ref] = kept
    return ref


@contextmanager
def workspace(context: Context) -> Iterator[Path]:
    """Open a folder on local disk that is gone afterwards."""
    with TemporaryDirectory(dir=context.scratch) as folder:
        yield Path(folder)


def movement(
    context: Context,
    kind: EntryKind,
    route: tuple[Bucket | None, Bucket | None],
    ref: RecordSetRef,
    *,
    submission: Submission | None = None,
    event_id: str | None = None,
    detail: Mapping[str, Any] | None = None,
    actor: str = OURSELVES,
) -> Movement:
    """Return the entry that moves the records of a set, counted from the set itself."""
    tallies = tally(scan(context, ref))
    total = sum(tallies.values(), Tally())
    return Movement(
        kind,
        *route,
        total.records,
        total.quantity,
        revision=submission.revision if submission else 0,
        record_set=ref,
        submission_id=submission.id if submission else None,
        event_id=event_id,
        actor=actor,
        detail={**(detail or {}), BY_CODE: detail_of(tallies)},
    )


def tally(records: pl.LazyFrame) -> dict[str, Tally]:
    """Count records and sum their readable quantities by the code that they are counted under."""
    names = records.collect_schema().names()
    code = pl.col(COUNTED_AS) if COUNTED_AS in names else pl.lit(MALFORMED_RECORD).alias(COUNTED_AS)
    frame = records.select(code, QUANTITY).collect()
    groups = frame.partition_by(COUNTED_AS, as_dict=True, maintain_order=True)
    # By way of their text, sums are without the zeros that summing leaves behind.
    return {
        str(key[0]): Tally(part.height, Decimal(quantities.to_text(quantities.total(part[QUANTITY]))))
        for key, part in groups.items()
    }


def reasons_of(records: pl.LazyFrame | pl.DataFrame) -> dict[str, int]:
    """Count records by their `REASON`, the commonest first; an entry that moves them tells it."""
    counts = records.lazy().select(pl.col(REASON).value_counts(sort=True)).unnest(REASON)
    return dict(counts.collect().iter_rows())


def numbered(frame: pl.DataFrame, *, first: int, refused_as: str) -> pl.DataFrame:
    """Give records that were just found the columns that follow them; `first` is the first one's number."""
    frame = with_columns_of(frame, FAILURE_COLUMNS)
    return frame.with_columns(
        pl.col(CODE).fill_null(MALFORMED_RECORD).alias(COUNTED_AS),
        pl.int_range(first, first + frame.height, dtype=pl.Int64).alias(RECORD),
        pl.lit(0, pl.Int64).alias(REVISION),
        pl.col(IDENTIFIER).alias(ORIGIN),
        pl.lit(refused_as).alias(REFUSED_AS),
    )


def with_next_identifiers(decided: pl.DataFrame) -> pl.DataFrame:
    """Give the repaired records their next revision's number and identifier; others stay as they are.

    A refusal for format means that Stripe never took the record in, so its identifier is unused and stays. After a
    refusal for data Stripe may remember it, so the next revision has its own.
    """
    sent = pl.col(OUTCOME) == Outcome.REPAIRED
    taken = sent & (pl.col(REFUSED_AS) == DATA)
    return decided.with_columns(
        pl.when(sent).then(pl.col(REVISION) + 1).otherwise(REVISION).alias(REVISION),
        pl.when(taken).then(next_revisions(pl.col(IDENTIFIER))).otherwise(IDENTIFIER).alias(IDENTIFIER),
    )
