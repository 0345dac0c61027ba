"""If these fail, usage that stands in a file of the sender's is not found there: it is billed twice, or never."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from workers.kernel.storage import StoredObject
from workers.kernel.storage.directory import DirectoryStore
from workers.sources import small_indexes
from workers.sources.facts import PART
from workers.sources.files import SourceFile
from workers.sources.index import HASH
from workers.sources.small_indexes import SMALL_BYTES, SmallIndexes

STORE = DirectoryStore(Path("usage"))


def a_file(name: str, etag: str = "1", *, size: int = 10) -> SourceFile:
    return SourceFile(STORE, StoredObject(name, size, datetime(2026, 11, 1, tzinfo=UTC), etag))


@pytest.fixture
def index_of(tmp_path: Path) -> Callable[..., str]:
    """Write an index of these rows (hash, part) and return where."""

    def write(*rows: tuple[int, int]) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.index"
        pl.DataFrame(rows, schema={HASH: pl.UInt64, PART: pl.UInt16}, orient="row").write_parquet(path)
        return str(path)

    return write


def wanted(*hashes: int) -> pl.Series:
    return pl.Series(hashes, dtype=pl.UInt64)


def test_files_that_are_kept_are_asked_and_others_are_named(index_of: Callable[..., str]) -> None:
    indexes, one, two, three = SmallIndexes(), *map(a_file, ("one", "two", "three"))
    indexes.keep({one: index_of((7, 1), (7, 0), (8, 0)), two: index_of()})
    assert indexes.hits([one, two, three], wanted(7, 9)) == ({one: [0, 1]}, [three])
    assert indexes.hits([two], wanted(7)) == ({}, []), "a file that is not asked about has no say"


def test_a_file_that_was_rewritten_is_another(index_of: Callable[..., str]) -> None:
    indexes = SmallIndexes()
    indexes.keep({a_file("one"): index_of((7, 0))})
    assert indexes.hits([a_file("one", "2")], wanted(7)) == ({}, [a_file("one", "2")])


def test_a_file_of_many_bytes_or_rows_is_asked_elsewhere(
    index_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed file of a few bytes may have any number of rows, and memory has a bound."""
    monkeypatch.setattr(small_indexes, "_MOST_ROWS", 2)
    indexes, many, large = SmallIndexes(), a_file("many"), a_file("large", size=SMALL_BYTES + 1)
    indexes.keep({many: index_of((7, 0), (7, 0), (7, 0)), large: index_of((7, 0))})
    assert indexes.hits([many, large], wanted(7)) == ({}, [many, large])


def test_what_finds_no_room_is_asked_elsewhere_until_others_are_asked_about_no_more(
    index_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken for known it would have no hit for ever."""
    monkeypatch.setattr(small_indexes, "_MOST_ROWS", 2)
    monkeypatch.setattr(small_indexes, "_MOST_KEPT", 3)
    indexes, one, two = SmallIndexes(), a_file("one"), a_file("two")
    rest = {two: index_of((7, 0), (9, 0))}
    indexes.keep({one: index_of((7, 0), (8, 0))} | rest)
    assert indexes.hits([one, two], wanted(7)) == ({one: [0]}, [two])
    indexes.keep(rest)
    assert indexes.hits([one, two], wanted(7)) == ({one: [0]}, [two])
    monkeypatch.setattr(small_indexes, "_SPARE_SECONDS", -1.0)
    indexes.keep(rest)
    assert indexes.hits([one, two], wanted(7, 8)) == ({two: [0]}, [one])
