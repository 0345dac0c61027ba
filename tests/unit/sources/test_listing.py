"""If these fail, a bucket with a million objects stalls every worker, or hides the file that Stripe refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from workers.kernel.errors import Transient
from workers.kernel.storage import StoredObject
from workers.kernel.storage.directory import DirectoryStore
from workers.sources.listing import Listed, Listing

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Bucket(DirectoryStore):
    """Objects that need a while to be listed, on a clock that nobody waits for."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Path("/bucket"))
        self.seconds = seconds
        self.now = NOON
        self.objects = [self.object("old.csv", NOON - timedelta(days=40))]
        self.listed = 0

    def object(self, key: str, written: datetime) -> StoredObject:
        return StoredObject(key, 10, written, f"etag of {key}")

    def add(self, key: str) -> None:
        self.objects.append(self.object(key, self.now))

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        self.listed += 1
        seen = list(self.objects)
        self.turn(self.seconds)
        yield from seen


@pytest.fixture
def dear(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    return a_bucket(200.0, monkeypatch)


def a_bucket(seconds: float, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket(seconds)

    def seconds_now() -> float:
        return bucket.now.timestamp()

    clock = SimpleNamespace(time=seconds_now, monotonic=seconds_now)
    monkeypatch.setattr("workers.sources.listing.time", clock)
    return bucket


def listing(bucket: Bucket, folder: Path) -> Listing:
    return Listing([bucket], lambda: bucket.now, folder)


def keys(listed: Listed) -> list[str]:
    return [file.stored.key for file in listed.files]


def test_a_dear_listing_serves_ten_times_as_long_as_it_took_even_at_a_miss(dear: Bucket, tmp_path: Path) -> None:
    """Each case of a storm would list the bucket anew, for minutes."""
    files = listing(dear, tmp_path)
    files.current()
    dear.turn(1_700)
    files.current(wanted=dear.now.timestamp())
    assert dear.listed == 1
    dear.turn(200)
    files.current()
    assert dear.listed == 2


def test_a_listing_of_a_moment_is_made_anew_at_each_miss(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that has just arrived would be missing for as long as a listing serves."""
    bucket = a_bucket(0.01, monkeypatch)
    files = listing(bucket, tmp_path)
    assert keys(files.current()) == []
    bucket.add("new.csv")
    assert keys(files.current()) == []
    assert keys(files.current(wanted=bucket.now.timestamp())) == ["new.csv"]
    bucket.turn(6)
    files.current()
    assert bucket.listed == 3


def test_the_processes_of_a_machine_list_once_for_all(dear: Bucket, tmp_path: Path) -> None:
    dear.add("a.csv")
    first = listing(dear, tmp_path).current()
    second = listing(dear, tmp_path).current()
    assert dear.listed == 1
    assert second == first
    (shared,) = tmp_path.iterdir()
    shared.write_bytes(shared.read_bytes()[:-9])
    assert listing(dear, tmp_path).current().files == first.files
    assert dear.listed == 2


def test_whoever_must_see_a_file_waits_for_the_listing_that_has_it(dear: Bucket, tmp_path: Path) -> None:
    """A case would be judged without the file that it is about, and its records put before a person."""
    files = listing(dear, tmp_path)
    files.current()
    dear.add("refused.csv")
    written = dear.now
    dear.turn(300)
    with pytest.raises(Transient) as told:
        files.since(written)
    assert told.value.retry_after == pytest.approx(1_500)
    dear.turn(1_501)
    assert keys(files.since(written)) == ["refused.csv"]


def test_a_newer_value_is_looked_for_whatever_that_takes(dear: Bucket, tmp_path: Path) -> None:
    """A meter that keeps the last value would get an older one."""
    files = listing(dear, tmp_path)
    files.current()
    dear.add("newer.csv")
    assert keys(files.newest()) == ["newer.csv"]


def test_the_clock_lists_before_a_worker_has_to(dear: Bucket, tmp_path: Path) -> None:
    ahead, worker = listing(dear, tmp_path), listing(dear, tmp_path)
    for _ in range(100):
        ahead.renew()
        by_clock = dear.listed
        assert worker.current().at > dear.now.timestamp() - 2_000
        assert dear.listed == by_clock
        dear.turn(30)
    assert dear.listed < 6
