"""What only whole files can tell, found in one pass with bounded memory before any record is judged."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import polars as pl

from workers.kernel.errors import FileUnusable
from workers.offline.duplicates import FIRST, Portion, RepeatFinder
from workers.records.files.layout import MAX_FILE_KEYS, Part
from workers.records.files.usage_file import TARGET_BYTES, UsageFile
from workers.records.notation import Evidence, EvidenceScan, look_at
from workers.records.schema import IDENTIFIER, ROW, UNREADABLE, template_order, with_columns_of

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS: Final = 2
"""polars' own work runs in native threads; two callers keep two cores busy while one of them is in Python."""
_UNREADABLE: Final = "@is_unreadable"
_MISSING: Final = "@lacks_identifier"


@dataclass(frozen=True)
class FileFacts:
    """Facts about a whole `file`.

    `columns` are the sender's columns over all parts, in the header's order, or where they are open in the
    template's: passing them to `UsageFile.read` gives every part the same schema. `before` is the number of records
    in the files that came before it. `duplicates` holds, per key that was asked for, the records of this file that
    share their key with another of any file: `@row` (Int64), and `@first` and `@last` (Int64), the first and the
    last record with that key, numbered on from file to file; sorted by `@row`. Keys that occur once, and null keys,
    are absent. `evidence` tells how the file's records are to be read.
    """

    file: UsageFile
    parts: tuple[Part, ...]
    columns: tuple[str, ...]
    records: int
    unreadable: int
    missing_identifiers: int
    before: int
    repeats: Mapping[str, pl.DataFrame]
    evidence: Evidence

    @property
    def portions(self) -> list[Portion]:
        """The parts of the file, numbered on from file to file."""
        return [Portion(self.file, part, self.before) for part in self.parts if part.rows]

    def within(self, records: pl.DataFrame) -> pl.DataFrame:
        """Return the records of the file, of those that are numbered on from file to file, by their rows in it."""
        rows = records.with_columns(pl.col(ROW) - self.before)
        return rows.filter(pl.col(ROW).is_between(1, self.records))

    def repeated_rows(self, key: str) -> pl.Series:
        """Return the rows (Int64) of the records whose key stands on an earlier record, of any file."""
        return self.repeats[key].filter(pl.col(ROW) + self.before > pl.col(FIRST))[ROW]


@dataclass(frozen=True)
class _PartFacts:
    part: Part
    columns: list[str]
    unreadable: int
    missing_identifiers: int
    evidence: Evidence


@dataclass(frozen=True)
class _Seen:
    """What was seen of each record: `ROW`, if it is unreadable or lacks an identifier, key hashes, and evidence."""

    frame: pl.DataFrame

    @property
    def records(self) -> int:
        return self.frame.height


def find_facts(
    files: Sequence[UsageFile],
    part_bytes: int = TARGET_BYTES,
    *,
    keys: Mapping[str, pl.Expr] | None = None,
    needs: Sequence[str] = (),
    customers: Sequence[str] = (),
) -> list[FileFacts]:
    """Read the files once and return their facts; a second time only those parts that seem to hold repeats.

    `keys` maps a name to an expression that gives each record's key as text, or null where it has none; the default
    is the identifier. `needs` are the columns that the expressions read, besides the identifier, and `customers`
    those that meters read customers from.

    Raises FileUnusable where the records of a file have more than `MAX_FILE_KEYS` different keys.
    """
    keys = {IDENTIFIER: pl.col(IDENTIFIER)} if keys is None else keys
    wanted = list(dict.fromkeys([IDENTIFIER, *needs]))
    with ExitStack() as stack:
        finders = {name: stack.enter_context(RepeatFinder(key, wanted)) for name, key in keys.items()}
        found: list[FileFacts] = []
        for file in files:
            before = sum(facts.records for facts in found)
            look = partial(_look, file, before, wanted, finders, customers)
            found.append(_facts_of(file, before, list(in_order(look, file.parts(part_bytes)))))
        repeats = {name: finder.repeats() for name, finder in finders.items()}
    return [
        replace(facts, repeats={name: facts.within(table) for name, table in repeats.items()}) for facts in found
    ]


def _look(
    file: UsageFile,
    before: int,
    wanted: Sequence[str],
    finders: Mapping[str, RepeatFinder],
    customers: Sequence[str],
    part: Part,
) -> _PartFacts:
    columns: list[str] = []
    if file.has_open_columns:
        frame = file.read_and_keep(part)
        columns = file.columns_of(frame)
        look = look_at(columns, customers)
        seen = _see(finders, look, with_columns_of(frame.lazy(), wanted)).frame
    else:
        look = look_at(file.header_columns, customers)
        see = partial(_see, finders, look)
        seen = file.work_through(part, list(dict.fromkeys([*wanted, *look.needs])), see).frame
    for name, finder in finders.items():
        finder.add(Portion(file, part, before), seen[ROW], seen[_hash_column(name)])
    unreadable, missing = int(seen[_UNREADABLE].sum()), int(seen[_MISSING].sum())
    return _PartFacts(part, columns, unreadable, missing, look.found(seen))


def _see(finders: Mapping[str, RepeatFinder], look: EvidenceScan, records: pl.LazyFrame) -> _Seen:
    unreadable, identifier = pl.col(UNREADABLE).is_not_null(), pl.col(IDENTIFIER)
    seen = records.select(
        ROW,
        unreadable.alias(_UNREADABLE),
        (~unreadable & (identifier.str.strip_chars() == "").fill_null(value=True)).alias(_MISSING),
        *(finder.hash.alias(_hash_column(name)) for name, finder in finders.items()),
        *look.expressions,
    )
    return _Seen(seen.collect(engine="streaming"))


def _hash_column(key: str) -> str:
    return f"@hash {key}"


def _facts_of(file: UsageFile, before: int, seen: Sequence[_PartFacts]) -> FileFacts:
    return FileFacts(
        file=file,
        parts=tuple(facts.part for facts in seen),
        columns=_all_columns(file, seen),
        records=sum(facts.part.rows for facts in seen),
        unreadable=sum(facts.unreadable for facts in seen),
        missing_identifiers=sum(facts.missing_identifiers for facts in seen),
        before=before,
        repeats={},
        evidence=sum((facts.evidence for facts in seen), Evidence()),
    )


def _all_columns(file: UsageFile, seen: Sequence[_PartFacts]) -> tuple[str, ...]:
    if not file.has_open_columns:
        return tuple(file.header_columns)
    columns = {name for facts in seen for name in facts.columns}
    if len(columns) > MAX_FILE_KEYS:
        raise FileUnusable(
            f"its records have {len(columns):,} different keys; at most {MAX_FILE_KEYS:,} can be read",
            where=file.layout.name,
            mend="keep what differs from record to record in a value, not in a key",
        )
    return tuple(template_order(list(columns)))


def repeats_of(facts: Sequence[FileFacts], key: str) -> pl.DataFrame:
    """Return the `repeats` of all files, also `@row` numbered on from file to file."""
    return pl.concat([of.repeats[key].with_columns(pl.col(ROW) + of.before) for of in facts])


def portions_of(facts: Sequence[FileFacts]) -> list[Portion]:
    """Return the parts of all files."""
    return [portion for of_file in facts for portion in of_file.portions]


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the items' order, computed by `threads` threads.

    At most `threads` results are in the making or waiting. The first error ends the iteration and is raised.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                if len(waiting) == threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
