"""Looking usage up in the sender's files, wherever they are stored."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from workers.kernel.clock import Clock, utc_now
from workers.kernel.errors import FileUnusable, Permanent, Transient
from workers.kernel.files import sha256_of
from workers.kernel.logs import get_logger
from workers.kernel.storage import open_store
from workers.kernel.storage.cache import FileCache
from workers.records.identifiers import content
from workers.records.schema import IDENTIFIER, MAX_AHEAD, WRITTEN, dtype_of
from workers.sources.files import Listing, SourceFile
from workers.sources.index import HASH, MAX_SOURCE_BYTES, PART, ConvertedFiles, hashed
from workers.sources.protocol import (
    CONTENT,
    ROW_AT,
    FoundUsage,
    carriers,
    concerned,
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

_CONVERTERS: Final = 4
_ATTEMPTS: Final = 3
_log = get_logger(__name__)


class StoredUsageSources:
    """Searches directories and buckets by a hash index per file, so that only files with a hit are read.

    `urls` are directories or `s3://bucket/prefix` and the like, as `open_store` takes them; `cache_dir` is local
    disk that may be emptied at any time. Nothing is contacted before the first question.
    """

    def __init__(
        self, urls: Iterable[str], cache_dir: Path, *, clock: Clock = utc_now, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._listing = Listing([open_store(url) for url in urls], clock)
        self._converted = ConvertedFiles(cache_dir, cache_bytes)
        self._originals = FileCache(cache_dir / "originals", ORIGINALS_BYTES, SPARE_SECONDS)

    def find(self, identifiers: Collection[str] | pl.Series) -> FoundUsage:
        """Look records up by their identifiers; for those that a recent listing misses, list anew."""
        started = time.monotonic()
        looked_up = wanted(identifiers)
        files = self._listing.files()
        found = self._find(files, looked_up)
        if (
            not looked_up.is_in(found.rows[IDENTIFIER].implode()).all()
            and (now := self._listing.files(not_before=started)) != files
        ):
            found = self._find(now, looked_up)
        return found

    def rows(self, event_names: Collection[str], start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        wanted_rows = concerned(event_names, start, end)
        unusable: dict[SourceFile, str] = {}
        files = [file for file in self._listing.files() if file.stored.last_modified >= start - MAX_AHEAD]
        for file in self._indexes(files, unusable).values():
            try:
                for number in self._converted.parts(file):
                    written = pl.lit(file.stored.last_modified, dtype_of(WRITTEN)).alias(WRITTEN)
                    yield self._converted.rows(file, number, wanted_rows).with_columns(written)
            except (FileUnusable, Permanent) as error:
                _note(file, error, unusable)

    def file(self, name: str, by: datetime) -> Path | None:
        """Return the sender's file of that base name where it lies on this machine, else a copy."""
        started = time.monotonic()
        base = PurePosixPath(name).name
        found = _named(base, self._listing.files()) or _named(base, self._listing.files(not_before=started))
        named = [file for file in found if file.stored.last_modified <= by]
        if found and not named:
            raise written_later(found[-1].location, found[-1].stored.last_modified, by)
        paths = [self._original(file) for file in named]
        if len(paths) > 1 and len({sha256_of(path) for path in paths}) > 1:
            places = ", ".join(file.location for file in named)
            raise Permanent(f"several files are named {base} and differ, so none can be chosen: {places}")
        return paths[-1] if paths else None

    def earlier(self, records: pl.DataFrame, before: datetime, but: Collection[str]) -> pl.DataFrame:
        files = [file for file in self._listing.files() if file.stored.last_modified < before]
        others = [file for file in files if file.location not in but]
        told = records.select(pl.col(IDENTIFIER), content(records.columns).alias(CONTENT))
        texts = pl.concat([told[IDENTIFIER], told[CONTENT].alias(IDENTIFIER)]).drop_nulls().unique()
        rows = carriers(self._search(others, texts, may_tell(records), {}))
        return rows[same_usage(records, rows)[ROW_AT].unique().sort()]

    def copies(self, path: Path) -> frozenset[str]:
        size = path.stat().st_size
        alike = [file for file in self._listing.files() if file.stored.size == size]
        digest = sha256_of(path) if alike else None
        return frozenset(file.location for file in alike if sha256_of(self._original(file)) == digest)

    def _find(self, files: Sequence[SourceFile], identifiers: pl.Series) -> FoundUsage:
        unusable: dict[SourceFile, str] = {}
        rows = self._search(files, identifiers, pl.col(IDENTIFIER).is_in(identifiers.implode()), unusable)
        empty = [f"{place}: holds no file" for place in self._listing.empty_places]
        return FoundUsage(carriers(rows), (*empty, *unusable.values()))

    def _search(
        self, files: Sequence[SourceFile], texts: pl.Series, wanted: pl.Expr, unusable: dict[SourceFile, str]
    ) -> list[pl.DataFrame]:
        """Return the wanted rows, in the order of the files; `texts` are what they may be indexed by."""
        rows = []
        for file, number in self._hits(files, texts, unusable):
            try:
                hits = self._converted.rows(file, number, wanted)
            except (FileUnusable, Permanent) as error:
                _note(file, error, unusable)
            else:
                written = pl.lit(file.stored.last_modified, dtype_of(WRITTEN))
                rows.append(hits.with_columns(written.alias(WRITTEN)))
        return rows

    def _hits(
        self, files: Sequence[SourceFile], texts: pl.Series, unusable: dict[SourceFile, str]
    ) -> list[tuple[SourceFile, int]]:
        """Return the files, and their parts by number, that hold one of the texts by its hash."""
        for _ in range(_ATTEMPTS):
            indexes = self._indexes(files, unusable)
            try:
                return _parts_with(texts, indexes)
            except FileNotFoundError:
                continue  # somebody has just emptied the cache
            except pl.exceptions.PolarsError as error:
                _log.warning("source_cache_damaged", error=str(error)[:200])
                for file in indexes.values():
                    self._converted.forget_index(file)
        raise Transient("the cache of usage sources does not last long enough to be read", retry_after=30)

    def _indexes(self, files: Sequence[SourceFile], unusable: dict[SourceFile, str]) -> dict[str, SourceFile]:
        """Return each usable file under the path of its index; those that are new are converted first."""
        usage = [file for file in files if file.may_be_usage and file not in unusable]
        paths = {file: self._converted.cached_index(file) for file in usage}
        new = [file for file, path in paths.items() if path is None]
        if new:
            with ThreadPoolExecutor(min(_CONVERTERS, len(new))) as pool:
                paths |= dict(zip(new, pool.map(lambda file: self._index(file, unusable), new), strict=True))
        return {str(path): file for file, path in paths.items() if path is not None}

    def _index(self, file: SourceFile, unusable: dict[SourceFile, str]) -> Path | None:
        try:
            return self._converted.index(file)
        except (FileUnusable, Permanent) as error:
            _note(file, error, unusable)
            return None

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


def _note(file: SourceFile, error: Exception, unusable: dict[SourceFile, str]) -> None:
    """Note a file that cannot be used, and go on without it: the others may hold what is looked for."""
    unusable[file] = f"{file.location}: {error}"
    _log.warning("usage_source_unusable", location=file.location, error=str(error))


def _parts_with(texts: pl.Series, indexes: dict[str, SourceFile]) -> list[tuple[SourceFile, int]]:
    if not indexes or texts.is_empty():
        return []
    hashes = pl.select(hashed(pl.lit(texts))).to_series()
    hits = pl.scan_parquet(list(indexes), include_file_paths="index").filter(pl.col(HASH).is_in(hashes.implode()))
    numbers: dict[str, set[int]] = {}
    for index, number in hits.select("index", PART).unique().collect().rows():
        numbers.setdefault(index, set()).add(number)
    return [(file, number) for index, file in indexes.items() for number in sorted(numbers.get(index, ()))]


def _named(base: str, files: Iterable[SourceFile]) -> list[SourceFile]:
    return [file for file in files if file.stored.name == base]
