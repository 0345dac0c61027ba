"""Where a customer stands in one case: in which of its records and files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workers.kernel.erasing import Eraser
from workers.kernel.files import case_folder
from workers.kernel.given_file import FOLDER
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.journal import IN_FLIGHT, WAITING, Bucket
from workers.kernel.ledger.queries import EntryRow
from workers.pipeline.context import Context
from workers.pipeline.desk.erased_files import Person, may_tell_of, person_in, tells_of
from workers.pipeline.record_sets import RECORD, records_in
from workers.records.schema import EVENT_NAME, QUANTITY

UNSETTLED = (*IN_FLIGHT, *WAITING)


@dataclass(frozen=True)
class CaseTraces:
    """What of a case's files tells of the customer.

    `files` are those that the journal names, by name, and `leftovers` those that nothing needs, such as a CSV that
    somebody read. `standing` has his records by the bucket that they stand in.
    """

    case: Case
    person: Person
    files: Mapping[str, Path]
    leftovers: Sequence[str]
    standing: Mapping[Bucket, pl.DataFrame]

    @property
    def unsettled(self) -> dict[Bucket, int]:
        """How many of his records are not settled, by where they stand."""
        return {bucket: self.standing[bucket].height for bucket in UNSETTLED if bucket in self.standing}


def traces_in(context: Context, case: Case, journal: Sequence[EntryRow], eraser: Eraser) -> CaseTraces:
    """Look for a customer in the files of a case. Raises as the archive does."""
    there = {name: context.archive.fetch_named(name) for name in context.archive.names(case.id)}
    named = set(_files_named(case.id, journal))
    person = person_in([path for name, path in there.items() if name in named], eraser)
    telling = {name: path for name, path in there.items() if tells_of(path, person)}
    files = {name: path for name, path in telling.items() if name in named}
    standing = dict(_standing(context, journal, person)) if person.records else {}
    return CaseTraces(case, person, files, sorted(telling.keys() - files.keys()), standing)


def given_traces(context: Context, eraser: Eraser) -> list[str]:
    """Return the names of given files of no case that may tell of a customer. Raises as the archive does."""
    there = context.archive.names(FOLDER)
    return [name for name in there if may_tell_of(context.archive.fetch_named(name), eraser)]


def _files_named(case_id: str, journal: Sequence[EntryRow]) -> Iterator[str]:
    folder = f"{case_folder(case_id)}/"
    for entry in journal:
        yield from (text for text in _texts([entry.record_set, entry.detail]) if text.startswith(folder))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)


def _standing(
    context: Context, journal: Sequence[EntryRow], person: Person
) -> Iterator[tuple[Bucket, pl.DataFrame]]:
    for bucket in Bucket:
        there = records_in(context, journal, bucket)
        if there is not None:
            his = there.filter(pl.col(RECORD).is_in(list(person.records))).select(EVENT_NAME, QUANTITY).collect()
            if not his.is_empty():
                yield bucket, his
