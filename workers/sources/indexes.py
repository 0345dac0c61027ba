"""The indexes of many files, asked together: each file is converted when it is first asked about."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import polars as pl

from workers.kernel.errors import FileUnusable, Permanent, Transient
from workers.kernel.logs import get_logger
from workers.sources.facts import FACTS, PART, read_facts
from workers.sources.files import SourceFile, oldest_first
from workers.sources.index import HASH, ConvertedFiles, facts_beside, hashed
from workers.sources.small_indexes import SMALL_INDEXES, Hits

_CONVERTERS: Final = 4
_ATTEMPTS: Final = 3
_INDEX: Final = "index"
_log = get_logger(__name__)
_Answer = TypeVar("_Answer")


class Indexes:
    """Tells which files, and which parts of them, can hold what is looked for.

    A file that cannot be asked is noted in `unusable`. Raises Transient where the cache does not last long enough.
    """

    def __init__(self, converted: ConvertedFiles) -> None:
        self._converted = converted

    def hits(
        self, files: Sequence[SourceFile], texts: pl.Series, unusable: dict[SourceFile, str]
    ) -> list[tuple[SourceFile, int]]:
        """Return the files, the oldest first, and their parts by number, that hold one of the texts by its hash."""
        if texts.is_empty():
            return []
        hashes = pl.select(hashed(pl.lit(texts))).to_series()
        hits, others = SMALL_INDEXES.hits(files, hashes)
        found = hits | self._asked(others, partial(_hits, hashes), unusable)
        return [(file, number) for file in oldest_first(found) for number in found[file]]

    def facts(
        self, files: Sequence[SourceFile], wanted: pl.Expr, unusable: dict[SourceFile, str]
    ) -> dict[SourceFile, pl.DataFrame]:
        """Return the wanted facts about the files that have any, in the order of the files."""
        return self._asked(files, partial(_facts_of, wanted), unusable)

    def make(self, file: SourceFile) -> None:
        """Convert a file that is new; one that cannot be used is remembered as such."""
        self._index(file, {})

    def _asked(
        self,
        files: Sequence[SourceFile],
        question: Callable[[dict[str, SourceFile]], _Answer],
        unusable: dict[SourceFile, str],
    ) -> _Answer:
        """Ask the indexes of the files, each under its path; those that are damaged are made again."""
        for _ in range(_ATTEMPTS):
            indexes = self._of(files, unusable)
            try:
                return question(indexes)
            except FileNotFoundError:
                continue  # somebody has just emptied the cache
            except pl.exceptions.PolarsError as error:
                _log.warning("source_cache_damaged", error=str(error)[:200])
                for file in indexes.values():
                    self._converted.forget_index(file)
        raise Transient("the cache of usage sources does not last long enough to be read", retry_after=30)

    def _of(self, files: Sequence[SourceFile], unusable: dict[SourceFile, str]) -> dict[str, SourceFile]:
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
            note(file, error, unusable)
            return None


def note(file: SourceFile, error: Exception, unusable: dict[SourceFile, str]) -> None:
    """Note a file that cannot be used, and go on without it: the others may hold what is looked for."""
    unusable[file] = f"{file.location}: {error}"
    _log.warning("usage_source_unusable", location=file.location, error=str(error))


def _hits(hashes: pl.Series, indexes: dict[str, SourceFile]) -> Hits:
    """Return the hits in these indexes; those of small files are kept in memory from now on, as far as they fit."""
    if not indexes:
        return {}
    paths = {file: path for path, file in indexes.items()}
    SMALL_INDEXES.keep(paths)
    hits, others = SMALL_INDEXES.hits(list(paths), hashes)
    if not others:
        return hits
    rows = pl.scan_parquet([paths[file] for file in others], include_file_paths=_INDEX)
    places = rows.filter(pl.col(HASH).is_in(hashes.implode())).select(_INDEX, PART).unique().sort(PART).collect()
    for path, number in places.rows():
        hits.setdefault(indexes[path], []).append(number)
    return hits


def _facts_of(wanted: pl.Expr, indexes: dict[str, SourceFile]) -> dict[SourceFile, pl.DataFrame]:
    paths = {facts_beside(index): file for index, file in indexes.items()}
    told = read_facts(list(paths), wanted).partition_by(FACTS, as_dict=True)
    return {file: told[path,] for path, file in paths.items() if (path,) in told}
