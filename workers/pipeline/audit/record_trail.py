"""Following every record of a case through its record sets, from the entry that found it to where it stands."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl

from workers.archive import Archive
from workers.kernel.errors import Permanent
from workers.kernel.ledger.journal import Balance, Bucket, EntryKind, Tally
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.record_sets import FINDING, RECORD
from workers.records import quantities
from workers.records.schema import QUANTITY

BATCH: Final = 250_000
"""Rows of a record set that are in memory at a time."""
NOWHERE: Final = 0
"""Where a record stands before it was found; entries are numbered from 1."""


UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What values raise that only a hand in the database can have put there."""


@dataclass(frozen=True)
class Breach:
    """Something that does not hold. `entry` is the number of the entry that it shows at, where there is one."""

    entry: int | None
    what: str


def unreadable(error: Exception) -> str:
    """Return in one line what one of UNREADABLE says of the ledger."""
    return f"what stands in the ledger cannot be read: {error!r}"


def first_misplaced(entries: Sequence[EntryRow], balance: Balance, archive: Archive) -> Iterator[Breach]:
    """Yield what does not hold in the record sets of a case; whoever takes only the first stops the walk there."""
    walk = _Walk(archive, entries)
    for entry in entries:
        yield from walk.follow(entry)
    standing = walk.standing()
    for bucket in Bucket:
        if standing[bucket] != balance[bucket]:
            yield Breach(
                None, f"{bucket} holds {_said(balance[bucket])}, its record sets {_said(standing[bucket])}"
            )


class _Walk:
    """Where each located record stands: the number of the entry that moved it last."""

    def __init__(self, archive: Archive, entries: Sequence[EntryRow]) -> None:
        self._archive = archive
        self._entries = {entry.number: entry for entry in entries}
        self._paths: dict[int, Path] = {}
        self._uncounted: Counter[str | None] = Counter()
        self._known = sum(entry.records for entry in entries if _finds(entry))
        self._moved_by = pl.zeros(self._known, dtype=pl.UInt32, eager=True)

    def follow(self, entry: EntryRow) -> Iterator[Breach]:
        """Take one entry's records from where they must stand to where it moves them."""
        self._note_unlocated(entry)
        if entry.ref is None:
            return
        try:
            path = self._archive.fetch(entry.ref)
        except Permanent as error:  # Corrupt, or gone
            yield Breach(entry.number, str(error))
            return
        tally = Tally()
        for batch in _batches(path):
            if entry.to_bucket is not None:
                yield from self._move(entry, batch[RECORD])
            tally += Tally(batch.height, quantities.total(batch[QUANTITY]))
        counted = Tally(entry.records, Decimal(entry.quantity))
        if tally != counted:
            yield Breach(entry.number, f"it counts {_said(counted)}, its record set {_said(tally)}")
        if entry.to_bucket is not None:
            self._paths[entry.number] = path

    def standing(self) -> dict[Bucket, Tally]:
        """Return what stands in each bucket by the record sets alone, with the records that were only counted."""
        found = {bucket: Tally(self._uncounted[bucket]) for bucket in Bucket}
        last = set(self._moved_by.unique().to_list())
        for number, path in self._paths.items():
            bucket = self._entries[number].to_bucket
            if number in last and bucket is not None:
                found[Bucket(bucket)] += self._left_by(number, path)
        return found

    def _left_by(self, number: int, path: Path) -> Tally:
        """Tally the records of a set that no later entry has moved on."""
        tally = Tally()
        for batch in _batches(path):
            here = batch.filter(self._moved_by.gather(batch[RECORD]) == number)
            tally += Tally(here.height, quantities.total(here[QUANTITY]))
        return tally

    def _move(self, entry: EntryRow, records: pl.Series) -> Iterator[Breach]:
        strange = records.filter(records.is_null() | (records < 0) | (records >= self._known))
        if not strange.is_empty():
            yield Breach(
                entry.number, f"its record set has the record number {strange[0]}, which was never given out"
            )
            return
        if records.n_unique() != len(records):
            yield Breach(entry.number, "its record set has a record twice")
        stood = self._moved_by.gather(records)
        wrong = records.filter(~stood.is_in(self._numbers_of(entry)))
        if not wrong.is_empty():
            number = int(self._moved_by[int(wrong[0])])
            where = "nowhere" if number == NOWHERE else f"in {self._entries[number].to_bucket}"
            yield Breach(
                entry.number, f"record {wrong[0]} did not stand in {_source(entry) or 'no bucket'}, but {where}"
            )
        self._moved_by.scatter(records, entry.number)

    def _numbers_of(self, entry: EntryRow) -> list[int]:
        """Return the entries that moved records to where this one takes them from."""
        source = _source(entry)
        if source is None:
            return [NOWHERE]
        return [number for number in self._paths if self._entries[number].to_bucket == source]

    def _note_unlocated(self, entry: EntryRow) -> None:
        """Count records that have no rows: they move by their number alone."""
        if entry.kind == EntryKind.LOCATED:
            self._uncounted[entry.from_bucket] -= entry.records
        elif entry.record_set is None:
            self._uncounted[entry.from_bucket] -= entry.records
            self._uncounted[entry.to_bucket] += entry.records


def _finds(entry: EntryRow) -> bool:
    """Whether the entry brings rows into the journal that were not in it before."""
    return entry.record_set is not None and entry.kind in FINDING


def _source(entry: EntryRow) -> str | None:
    """Return the bucket that the entry's rows stood in; rows that were just found stood in none."""
    return None if _finds(entry) else entry.from_bucket


def _batches(path: Path) -> Iterator[pl.DataFrame]:
    return iter(pl.scan_parquet(path).select(RECORD, QUANTITY).collect_batches(chunk_size=BATCH))


def _said(tally: Tally) -> str:
    return f"{tally.records} records of {quantities.to_text(tally.quantity)}"
