"""Looking usage up in the sender's files, wherever they are stored."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from workers.kernel.clock import Clock, utc_now
from workers.kernel.errors import FileUnusable, Permanent
from workers.kernel.files import sha256_of
from workers.kernel.storage import open_store
from workers.kernel.storage.cache import FileCache
from workers.records.catalog import CUSTOMER_ID, Catalog
from workers.records.identifiers import content
from workers.records.schema import IDENTIFIER, MAX_AHEAD, READER_COLUMNS, WRITTEN, dtype_of, with_columns_of
from workers.records.validation import Standard
from workers.sources.doubts import to_judge
from workers.sources.facts import PART, RECORDS, may_concern, of_names
from workers.sources.files import SourceFile
from workers.sources.index import MAX_SOURCE_BYTES, ConvertedFiles
from workers.sources.indexes import Indexes, note
from workers.sources.listing import Listed, Listing
from workers.sources.protocol import (
    CONTENT,
    ROW_AT,
    Candidate,
    Candidates,
    FoundUsage,
    carriers,
    concerned,
    gone,
    may_tell,
    same_usage,
    wanted,
    written_later,
)

CACHE_BYTES: Final = 16 * 1024**3
"""Bound of the converted files: some 500 million records."""
ORIGINALS_BYTES: Final = 4 * 1024**3
"""Bound of the copies of whole files."""
SPARE_SECONDS: Final = 3600.0
"""A copy of a whole file stays at least as long as a job may run."""


class StoredUsageSources:
    """Searches directories and buckets by a hash index per file, so that only files with a hit are read.

    `urls` are directories or `s3://bucket/prefix` and the like, as `open_store` takes them; `cache_dir` is local
    disk that may be emptied at any time. Nothing is contacted before the first question.
    """

    def __init__(
        self, urls: Iterable[str], cache_dir: Path, *, clock: Clock = utc_now, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._listing = Listing([open_store(url) for url in urls], clock, cache_dir)
        self._converted = ConvertedFiles(cache_dir, cache_bytes)
        self._indexes = Indexes(self._converted)
        self._prepared: set[str] = set()
        self._originals = FileCache(cache_dir / "originals", ORIGINALS_BYTES, SPARE_SECONDS)

    def find(self, identifiers: Collection[str] | pl.Series) -> FoundUsage:
        """Look records up by their identifiers; for those that a recent listing misses, list anew."""
        started = time.time()
        looked_up = wanted(identifiers)
        listed = self._listing.current()
        found = self._find(listed, looked_up)
        if looked_up.is_in(found.rows[IDENTIFIER].implode()).all():
            return found
        now = self._listing.current(started)
        found = found if now.files == listed.files else self._find(now, looked_up)
        return found if now.at >= started else FoundUsage(found.rows, (*found.unusable, _overlooked(now)))

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        wanted_rows = concerned(event_names, start, end)
        unusable: dict[SourceFile, str] = {}
        files = [file for file in self._listing.newest().files if file.stored.last_modified >= start - MAX_AHEAD]
        for file, facts in self._indexes.facts(files, may_concern(event_names, start, end), unusable).items():
            try:
                yield from self._parts_of(file, facts, wanted_rows)
            except (FileUnusable, Permanent) as error:
                note(file, error, unusable)

    def candidates(self, event_names: Collection[str] | None, start: datetime, end: datetime) -> Candidates:
        listed = self._listing.since(end)
        files = [file for file in listed.files if start <= file.stored.last_modified <= end]
        unusable: dict[SourceFile, str] = {}
        found = self._indexes.facts(files, of_names(event_names), unusable)
        return Candidates(
            [
                Candidate(file.location, file.version, file.stored.last_modified, int(facts[RECORDS].sum()))
                for file, facts in found.items()
            ],
            _unread(listed, unusable),
        )

    def rows_of(self, candidate: Candidate, event_names: Collection[str] | None) -> Iterator[pl.DataFrame]:
        for file, number in self._parts_with(candidate, event_names):
            yield with_columns_of(self._part(file, number, of_names(event_names)), READER_COLUMNS)

    def doubtful(self, candidate: Candidate, event_name: str, standard: Standard) -> Iterator[pl.DataFrame]:
        meter = standard.catalog.by_event_name[event_name]
        for file, number in self._parts_with(candidate, [event_name]):
            doubts = self._converted.doubts(file, number, meter)
            wanted = to_judge(doubts.others, meter, standard.catalog, standard.window)
            rows = _written(file, doubts.rows) if wanted is None else self._part(file, number, wanted)
            yield with_columns_of(rows, READER_COLUMNS)

    def customers(self, candidate: Candidate, event_name: str, catalog: Catalog) -> pl.Series:
        meter = catalog.by_event_name[event_name]
        found = [pl.Series(CUSTOMER_ID, dtype=pl.String)]
        for file, number in self._parts_with(candidate, [event_name]):
            doubts = self._converted.doubts(file, number, meter)
            found += [doubts.others[CUSTOMER_ID], catalog.resolve(doubts.rows)[CUSTOMER_ID]]
        return pl.concat(found).drop_nulls().unique()

    def file(self, name: str, by: datetime) -> Path | None:
        """Return the sender's file of that base name where it lies on this machine, else a copy."""
        started = time.time()
        base = PurePosixPath(name).name
        found = _named(base, self._listing.current()) or _named(base, self._listing.current(started))
        found = found or _named(base, self._listing.since(by))
        named = [file for file in found if file.stored.last_modified <= by]
        if found and not named:
            raise written_later(found[-1].location, found[-1].stored.last_modified, by)
        paths = [self._original(file) for file in named]
        if len(paths) > 1 and len({sha256_of(path) for path in paths}) > 1:
            places = ", ".join(file.location for file in named)
            raise Permanent(f"several files are named {base} and differ, so none can be chosen: {places}")
        return paths[-1] if paths else None

    def earlier(self, records: pl.DataFrame, before: datetime, but: Collection[str]) -> pl.DataFrame:
        files = [file for file in self._listing.since(before).files if file.stored.last_modified < before]
        told = records.select(pl.col(IDENTIFIER), content(records.columns).alias(CONTENT))
        texts = pl.concat([told[IDENTIFIER], told[CONTENT].alias(IDENTIFIER)]).drop_nulls().unique()
        rows = carriers(self._search(files, texts, may_tell(records), {}, but))
        return rows[same_usage(records, rows)[ROW_AT].unique().sort()]

    def copies(self, path: Path) -> frozenset[str]:
        size = path.stat().st_size
        alike = [file for file in self._listing.current().files if file.stored.size == size]
        digest = sha256_of(path) if alike else None
        return frozenset(file.location for file in alike if sha256_of(self._original(file)) == digest)

    def prepare(self, seconds: float) -> int:
        """List ahead, and convert files that are new, the newest first; return how many are left to do."""
        deadline = time.monotonic() + seconds
        files = {file.version: file for file in reversed(self._listing.renew().files) if file.may_be_usage}
        self._prepared &= files.keys()
        left = [version for version in files if version not in self._prepared]
        for done, version in enumerate(left):
            if time.monotonic() >= deadline:
                return len(left) - done
            self._indexes.make(files[version])
            self._prepared.add(version)
        return 0

    def _find(self, listed: Listed, identifiers: pl.Series) -> FoundUsage:
        unusable: dict[SourceFile, str] = {}
        rows = self._search(listed.files, identifiers, pl.col(IDENTIFIER).is_in(identifiers.implode()), unusable)
        return FoundUsage(carriers(rows), _unread(listed, unusable))

    def _search(
        self,
        files: Sequence[SourceFile],
        texts: pl.Series,
        wanted: pl.Expr,
        unusable: dict[SourceFile, str],
        but: Collection[str] = (),
    ) -> list[pl.DataFrame]:
        """Return the wanted rows, in the order of the files; `texts` are what they may be indexed by.

        Files at the addresses `but` are left out.
        """
        rows = []
        for file, number in self._indexes.hits(files, texts, unusable):
            if file.location in but:
                continue
            try:
                rows.append(self._part(file, number, wanted))
            except (FileUnusable, Permanent) as error:
                note(file, error, unusable)
        return rows

    def _parts_of(self, file: SourceFile, facts: pl.DataFrame, wanted: pl.Expr) -> Iterator[pl.DataFrame]:
        """Yield the wanted rows of those parts of a file that the facts are about."""
        for number in facts[PART].unique().sort():
            yield self._part(file, number, wanted)

    def _parts_with(
        self, candidate: Candidate, event_names: Collection[str] | None
    ) -> Iterator[tuple[SourceFile, int]]:
        """Yield the file and the number of each part of the candidate that has a row of these event names."""
        file = self._listing.current().by_location.get(candidate.location)
        if file is None or file.version != candidate.version:
            raise gone(candidate)
        unusable: dict[SourceFile, str] = {}
        for facts in self._indexes.facts([file], of_names(event_names), unusable).values():
            yield from ((file, number) for number in facts[PART].unique().sort())
        if unusable:
            raise FileUnusable(unusable[file])

    def _part(self, file: SourceFile, number: int, wanted: pl.Expr) -> pl.DataFrame:
        return _written(file, self._converted.rows(file, number, wanted))

    def _original(self, file: SourceFile) -> Path:
        local = file.store.local_path(file.stored.key)
        if local is not None:
            return local
        name = f"{file.version}/{file.stored.name}"
        return self._originals.find(name) or self._originals.made(
            name, lambda path: file.store.get_to_file(file.stored.key, path, MAX_SOURCE_BYTES)
        )


NOWHERE: Final = StoredUsageSources((), Path())
"""The sources of an account for which no place is named: nothing is ever found in them."""


def _written(file: SourceFile, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.lit(file.stored.last_modified, dtype_of(WRITTEN)).alias(WRITTEN))


def _unread(listed: Listed, unusable: dict[SourceFile, str]) -> tuple[str, ...]:
    return (*(f"{place}: holds no file" for place in listed.empty_places), *unusable.values())


def _overlooked(listed: Listed) -> str:
    return (
        f"files written in the last {time.time() - listed.at:.0f} s were not looked into, since listing all takes "
        f"{listed.took:.0f} s"
    )


def _named(base: str, listed: Listed) -> list[SourceFile]:
    return [file for file in listed.files if file.stored.name == base]
