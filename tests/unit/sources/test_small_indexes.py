"""If these fail, usage that stands in a file of the sender's is not found there: it is billed twice, or never."""

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
from workers.sources.small_indexes import SmallIndexes

STORE = DirectoryStore(Path("usage"))


def a_file(name: str, etag: str = "1") -> SourceFile:
    return SourceFile(STORE, StoredObject(name, 10, datetime(2026, 11, 1, tzinfo=UTC), etag))


def index_of(*rows: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={HASH: pl.UInt64, PART: pl.UInt16}, orient="row")


def wanted(*hashes: int) -> pl.Series:
    return pl.Series(hashes, dtype=pl.UInt64)


def test_files_that_are_kept_are_asked_and_others_are_named() -> None:
    indexes, one, two, three = SmallIndexes(), *map(a_file, ("one", "two", "three"))
    indexes.keep({one: index_of((7, 1), (7, 0), (8, 0)), two: index_of()})
    assert indexes.hits([one, two, three], wanted(7, 9)) == ({one: [0, 1]}, [three])
    assert indexes.hits([two], wanted(7)) == ({}, []), "a file that is not asked about has no say"


def test_a_file_that_was_rewritten_is_another() -> None:
    indexes = SmallIndexes()
    indexes.keep({a_file("one"): index_of((7, 0))})
    assert indexes.hits([a_file("one", "2")], wanted(7)) == ({}, [a_file("one", "2")])


def test_what_finds_no_room_is_asked_elsewhere_until_others_are_asked_about_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Taken for known it would have no hit for ever."""
    monkeypatch.setattr(small_indexes, "_MOST_KEPT", 3)
    indexes, one, two = SmallIndexes(), a_file("one"), a_file("two")
    indexes.keep({one: index_of((7, 0), (8, 0)), two: index_of((7, 0), (9, 0))})
    assert indexes.hits([one, two], wanted(7)) == ({one: [0]}, [two])
    indexes.keep({two: index_of((7, 0), (9, 0))})
    assert indexes.hits([one, two], wanted(7)) == ({one: [0]}, [two])
    monkeypatch.setattr(small_indexes, "_SPARE_SECONDS", -1.0)
    indexes.keep({two: index_of((7, 0), (9, 0))})
    assert indexes.hits([one, two], wanted(7, 8)) == ({two: [0]}, [one])
