"""Local copies of usage files that can be searched: Parquet parts, an index of identifier hashes, and facts.

A file is downloaded and converted once per version. Its index stands for it; parts that the cache has given up are
made again when they are wanted. Several processes may convert the same file at once: the last rename wins, and both
wrote the same.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import polars as pl

from workers.kernel.errors import FileUnusable, Permanent, Transient
from workers.kernel.logs import get_logger
from workers.kernel.storage.cache import FileCache
from workers.kernel.storage.directory import disk_error
from workers.records.catalog import Meter
from workers.records.files.open import open_file
from workers.records.identifiers import content, is_nameless
from workers.records.notation import Evidence, evidence_in
from workers.records.schema import EVIDENCE, IDENTIFIER, RAW, UNREADABLE
from workers.sources.doubts import Doubts, doubts_of, of_meter, word_for
from workers.sources.facts import PART, all_facts, facts_of
from workers.sources.files import SourceFile

HASH: Final = "hash"

MAX_SOURCE_BYTES: Final = 8 * 1024**3
"""Largest source file that is taken; the connector's own limit is an eighth of it."""
_PART_BYTES: Final = 64 << 20
_ROWS_PER_GROUP: Final = 32_768
"""Rows that a hit makes polars decode at least."""
_SPARE_SECONDS: Final = 3600.0
_ATTEMPTS: Final = 3
_LAYOUT: Final = "6"
"""Raised whenever what stands in the cache changes its form."""

_Read = TypeVar("_Read")
_log = get_logger(__name__)


def hashed(texts: pl.Expr) -> pl.Expr:
    """Return 64-bit hashes, the same within one release of polars on one kind of machine."""
    return texts.hash(seed=0).alias(HASH)


class ConvertedFiles:
    """The converted files in bounded caches below `directory`: `max_bytes` of records, and their indexes.

    An index has some 10 bytes a record, and stays for an hour after its use whatever the bound is.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._parts = FileCache(directory / "records", max_bytes)
        self._indexes = FileCache(directory / "indexes", max_bytes, _SPARE_SECONDS)

    def cached_index(self, file: SourceFile) -> Path | None:
        """Return the file's index where it has been converted already."""
        facts = self._indexes.find(self._name(file, "facts"))
        return self._indexes.find(self._name(file, "index")) if facts else None

    def index(self, file: SourceFile) -> Path:
        """Return the file's index: a Parquet file with the columns `hash` and `part`, a row per record.

        The hash is of the identifier or, where there is none, of the content. `EVIDENCE` is that of the whole file,
        in each row. What `workers.sources.facts` tells of the file stands beside it, as `facts_beside` names it.

        Raises FileUnusable when it is no usage file (remembered, so that it is read once only), Permanent when it
        is gone or too large, and Transient.
        """
        return self.cached_index(file) or self._convert(file)

    def rows(self, file: SourceFile, number: int, wanted: pl.Expr) -> pl.DataFrame:
        """Return the wanted rows of one part, with the file's evidence; a part that is gone is made again.

        Raises as `index` does.
        """
        name = self._name(file, str(number))
        path = self._parts.directory / name

        def read() -> pl.DataFrame:
            if self._parts.find(name) is None:
                self._convert(file)
            return pl.scan_parquet(path).filter(wanted).with_columns(self._evidence(file).alias(EVIDENCE)).collect()

        return self._lasting(file, read, path)

    def doubts(self, file: SourceFile, number: int, meter: Meter) -> Doubts:
        """Return what is doubtful of a meter's rows in one part, its rows with the file's evidence; it is kept.

        Raises as `index` does.
        """
        word = word_for(meter)
        names = [self._name(file, f"{number}-{word}-{kind}") for kind in ("doubtful", "others")]
        paths = [self._indexes.directory / name for name in names]

        def read() -> Doubts:
            if None in [self._indexes.find(name) for name in names]:
                made = doubts_of(self.rows(file, number, of_meter(meter)), meter)
                for name, frame in zip(names, (made.rows, made.others), strict=True):
                    self._indexes.made(name, partial(_write, frame))
                return made
            return Doubts(*(pl.read_parquet(path, glob=False) for path in paths))

        return self._lasting(file, read, *paths)

    def _lasting(self, file: SourceFile, read: Callable[[], _Read], *stale: Path) -> _Read:
        """Return what is read of the cache; of a damaged one the index, and what is `stale` then, is made again."""
        for _ in range(_ATTEMPTS):
            try:
                return read()
            except FileNotFoundError:
                continue  # another process has just made room
            except pl.exceptions.PolarsError as error:
                _log.warning("source_cache_damaged", location=file.location, error=str(error)[:200])
                self.forget_index(file)
                for path in stale:
                    path.unlink(missing_ok=True)
        raise Transient(f"what is cached of {file.location} does not last long enough to be read", retry_after=30)

    def _evidence(self, file: SourceFile) -> pl.Expr:
        known = pl.read_parquet(self.index(file), columns=[EVIDENCE], n_rows=1)
        return pl.lit(known[EVIDENCE][0], pl.String)

    def forget_index(self, file: SourceFile) -> None:
        """Give up a file's index, because it turned out to be damaged."""
        (self._indexes.directory / self._name(file, "index")).unlink(missing_ok=True)

    def _convert(self, file: SourceFile) -> Path:
        """Write the file's parts and its facts, then the index that stands for them all."""
        known = self._indexes.find(self._name(file, "unusable"))
        if known is not None:
            raise FileUnusable(known.read_text(encoding="utf-8"))
        try:
            index, facts = self._write_parts(file)
        except FileUnusable as error:
            if isinstance(error.__cause__, OSError):
                raise disk_error(error.__cause__, file.location) from error
            if not isinstance(error.__cause__, ImportError):  # what is not installed now may be later
                with self._indexes.make(self._name(file, "unusable")) as path:
                    path.write_text(str(error), encoding="utf-8")
            raise
        with self._indexes.make(self._name(file, "facts")) as path:
            _write(facts, path)
        return self._indexes.made(self._name(file, "index"), lambda path: _write(index, path))

    def _write_parts(self, file: SourceFile) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Write the file's parts; return its index and its facts."""
        facts: list[pl.DataFrame] = []
        indexes = [pl.DataFrame(schema={HASH: pl.UInt64, PART: pl.UInt16})]
        written = set()
        evidence = Evidence()
        with _original(file, self._parts.directory) as original, open_file(original) as usage:
            for number, part in enumerate(usage.parts(_PART_BYTES)):
                records = usage.read(part).filter(pl.col(UNREADABLE).is_null()).drop(UNREADABLE, RAW)
                evidence += evidence_in(records)
                written.add(name := self._name(file, str(number)))
                with self._parts.make(name) as path:
                    _write(records, path)
                indexes.append(_index_of(records, number))
                facts.append(facts_of(records, number))
        self._parts.shrink(keep=written)
        index = pl.concat(indexes).with_columns(pl.lit(evidence.text, pl.String).alias(EVIDENCE))
        return index, all_facts(facts)

    def _name(self, file: SourceFile, kind: str) -> str:
        return f"{self._fingerprint}-{file.version}.{kind}"

    @cached_property
    def _fingerprint(self) -> str:
        """Tells caches apart whose hashes would not match: polars promises stable hashes within a release only."""
        canary = pl.select(hashed(pl.lit("metermend"))).item()
        return f"{_LAYOUT}-{canary:016x}"


def facts_beside(index: str) -> str:
    """Return where the facts about the file of an index stand."""
    return str(Path(index).with_suffix(".facts"))


def _write(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet by way of memory: polars itself does not tell a full disk from damaged data."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    path.write_bytes(buffer.getbuffer())


def _index_of(records: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return a row per record."""
    text = pl.when(is_nameless()).then(content(records.columns)).otherwise(pl.col(IDENTIFIER))
    return records.select(hashed(text)).with_columns(pl.lit(number, pl.UInt16).alias(PART))


@contextmanager
def _original(file: SourceFile, scratch: Path) -> Iterator[Path]:
    """Give the file itself where it lies on this machine, else a copy for the time being."""
    local = file.store.local_path(file.stored.key)
    if file.stored.size > MAX_SOURCE_BYTES:
        raise Permanent(f"{file.location} has more than {MAX_SOURCE_BYTES} bytes")
    if local is not None:
        yield local
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix=".download-") as folder:
        path = Path(folder) / file.stored.name
        file.store.get_to_file(file.stored.key, path, MAX_SOURCE_BYTES)
        yield path
