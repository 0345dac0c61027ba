"""The real usage sources under the conditions of service: new files, bad files, a small cache, other processes."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import FrozenClock
from workers.kernel.clock import utc_now
from workers.kernel.errors import FileUnusable, Permanent, Transient
from workers.records.schema import IDENTIFIER, VALUE
from workers.sources import StoredUsageSources

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\n"


def usage(*identifiers: str, value: str = "1") -> bytes:
    rows = (f"{identifier},1795250000,tokens,cus_1,{value}\n" for identifier in identifiers)
    return (HEADER + "".join(rows)).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "usage").mkdir()
    return tmp_path / "usage"


@pytest.fixture
def sources(folder: Path, tmp_path: Path) -> StoredUsageSources:
    return StoredUsageSources([str(folder)], tmp_path / "cache")


def cached(tmp_path: Path, kind: str) -> list[Path]:
    return sorted((tmp_path / "cache").rglob(f"*.{kind}"))


def test_a_file_that_has_just_arrived_is_searched_at_once(folder: Path, sources: StoredUsageSources) -> None:
    (folder / "one.csv").write_bytes(usage("a"))
    assert set(sources.find(["a", "b"]).rows[IDENTIFIER]) == {"a"}
    (folder / "two.csv").write_bytes(usage("b"))
    assert sources.find(["a", "b"]).rows.height == 2


def test_a_file_that_was_rewritten_is_read_anew(folder: Path, sources: StoredUsageSources) -> None:
    (folder / "one.csv").write_bytes(usage("a", value="1"))
    assert sources.find(["a"]).rows[VALUE].to_list() == ["1"]
    (folder / "one.csv").write_bytes(usage("a", "b", value="22"))
    found = sources.find(["a", "b"])
    assert found.rows[VALUE].to_list() == ["22", "22"]


def test_a_place_within_another_shows_its_files_once(folder: Path, tmp_path: Path) -> None:
    """A row that seems to stand twice is ambiguous, and waits for a person."""
    (folder / "june").mkdir()
    (folder / "june" / "one.csv").write_bytes(usage("a"))
    sources = StoredUsageSources([str(folder), str(folder / "june")], tmp_path / "cache")
    for _ in range(2):
        assert sources.find(["a"]).rows.height == 1


def test_our_own_files_are_no_source(folder: Path, sources: StoredUsageSources) -> None:
    """Else a repaired record would be found beside its original and both be taken for ambiguous."""
    (folder / "metermend-case_1-1.csv").write_bytes(usage("a", value="2"))
    (folder / "one.csv").write_bytes(usage("a"))
    found = sources.find(["a"])
    assert found.rows[VALUE].to_list() == ["1"]
    assert sources.file("metermend-case_1-1.csv", utc_now()) is None


def test_files_beyond_the_look_back_are_left_alone(folder: Path, tmp_path: Path, clock: FrozenClock) -> None:
    sources = StoredUsageSources([str(folder)], tmp_path / "cache", clock=clock)
    for name, days in (("old.csv", 37), ("new.csv", 35)):
        (folder / name).write_bytes(usage(name))
        moment = (clock() - timedelta(days=days)).timestamp()
        os.utime(folder / name, (moment, moment))
    assert sources.find(["old.csv", "new.csv"]).rows[IDENTIFIER].to_list() == ["new.csv"]


def test_a_broken_file_is_named_and_the_others_are_searched(folder: Path, sources: StoredUsageSources) -> None:
    """One bad export must not hide every other one, nor may it go unsaid."""
    (folder / "bad.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "good.csv").write_bytes(usage("a"))
    for _ in range(2):
        found = sources.find(["a", "b"])
        assert found.rows[IDENTIFIER].to_list() == ["a"]
        assert len(found.unusable) == 1
        assert "bad.csv" in found.unusable[0]
        assert "binary" in found.unusable[0]


def test_a_readme_beside_the_usage_is_not_read(folder: Path, sources: StoredUsageSources) -> None:
    (folder / "README.md").write_bytes(bytes(range(256)) * 20)
    (folder / ".hidden.csv").write_bytes(bytes(range(256)) * 20)
    assert sources.find(["a"]).unusable == ()


def test_a_file_that_could_not_be_opened_is_tried_again(folder: Path, sources: StoredUsageSources) -> None:
    """Its permissions are mended without its content changing."""
    (folder / "one.csv").write_bytes(usage("a"))
    original = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.suffix == ".csv":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original(path, *args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        assert "Permission denied" in sources.find(["a"]).unusable[0]
    assert sources.find(["a"]).rows.height == 1


def test_a_place_without_a_file_is_named(folder: Path, tmp_path: Path) -> None:
    """A mistyped setting looks like usage that nobody ever sent."""
    (folder / "one.csv").write_bytes(usage("a"))
    sources = StoredUsageSources([str(folder), str(tmp_path / "mistyped")], tmp_path / "cache")
    assert sources.find(["a"]).unusable == (f"{tmp_path / 'mistyped'}: holds no file",)


def test_an_unreadable_row_does_not_hide_its_neighbours(folder: Path, sources: StoredUsageSources) -> None:
    (folder / "one.csv").write_bytes(usage("a") + b"too,few\n" + usage("b").partition(b"\n")[2])
    assert sources.find(["a", "b"]).rows[IDENTIFIER].to_list() == ["a", "b"]


def test_a_file_is_converted_once(folder: Path, sources: StoredUsageSources, tmp_path: Path) -> None:
    (folder / "one.csv").write_bytes(usage("a"))
    sources.find(["a"])
    before = cached(tmp_path, "0")[0].stat().st_ino
    StoredUsageSources([str(folder)], tmp_path / "cache").find(["a"])
    assert cached(tmp_path, "0")[0].stat().st_ino == before


def test_only_files_with_a_hit_are_read(folder: Path, sources: StoredUsageSources, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_bytes(usage(name))
    sources.find(["a", "b"])
    by_content = {pl.read_parquet(path)[IDENTIFIER][0]: path for path in cached(tmp_path, "0")}
    by_content["b"].write_bytes(b"never read")
    assert sources.find(["a"]).rows.height == 1


@pytest.mark.parametrize("kind", ["0", "index"])
@pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense PAR1"])
def test_a_damaged_cache_is_made_again(
    folder: Path, sources: StoredUsageSources, tmp_path: Path, kind: str, damage: bytes
) -> None:
    """After a power cut the cache may hold empty files; a record in them is not missing."""
    (folder / "one.csv").write_bytes(usage("a"))
    sources.find(["a"])
    cached(tmp_path, kind)[0].write_bytes(damage)
    assert sources.find(["a"]).rows.height == 1


def test_a_cache_that_is_too_small_still_finds_everything(folder: Path, tmp_path: Path) -> None:
    sources = StoredUsageSources([str(folder)], tmp_path / "cache", cache_bytes=1)
    for number in range(6):
        (folder / f"{number}.csv").write_bytes(usage(*(f"{number}-{row}" for row in range(200))))
    wanted = [f"{number}-7" for number in range(6)]
    for number in range(6):
        assert sources.find([wanted[number]]).rows[IDENTIFIER].to_list() == [wanted[number]]
    assert len(cached(tmp_path, "0")) < 6


def test_two_files_of_one_name_that_differ_are_not_chosen_between(
    folder: Path, sources: StoredUsageSources
) -> None:
    for place, value in (("a", "1"), ("b", "2")):
        (folder / place).mkdir()
        (folder / place / "usage.csv").write_bytes(usage("x", value=value))
    with pytest.raises(Permanent, match=r"several files are named usage\.csv"):
        sources.file("usage.csv", utc_now())
    (folder / "b" / "usage.csv").write_bytes(usage("x", value="1"))
    assert StoredUsageSources([str(folder)], folder / "cache").file("usage.csv", utc_now()) is not None


def test_a_file_with_a_wrong_extension_is_found_whole(folder: Path, sources: StoredUsageSources) -> None:
    """Its extension may be the very reason why Stripe refused it."""
    (folder / "usage.data").write_bytes(usage("x"))
    assert sources.file("usage.data", utc_now()) == folder / "usage.data"


def test_a_full_disk_is_one_clear_error_that_passes(
    folder: Path, sources: StoredUsageSources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "one.csv").write_bytes(usage("a"))

    def write_half(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_half)
        with pytest.raises(Transient, match="free some space"):
            sources.find(["a"])
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert sources.find(["a"]).rows.height == 1


def test_several_processes_share_one_cache(folder: Path, tmp_path: Path) -> None:
    for number in range(5):
        (folder / f"{number}.csv").write_bytes(usage(*(f"{number}-{row}" for row in range(500))))
    script = (
        "import sys; from pathlib import Path; from workers.sources import StoredUsageSources\n"
        "sources = StoredUsageSources([sys.argv[1]], Path(sys.argv[2]), cache_bytes=20_000)\n"
        "for number in list(range(5)) * 4:\n"
        "    assert sources.find([f'{number}-499']).rows.height == 1, number\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(folder), str(tmp_path / "cache")]) for _ in range(3)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]


def test_building_the_sources_runs_no_polars(tmp_path: Path) -> None:
    """A worker that forks after polars has run hangs in the child."""
    script = (
        "import os, sys; from pathlib import Path; from workers.sources import StoredUsageSources\n"
        "sources = StoredUsageSources([sys.argv[1]], Path(sys.argv[2]))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(sources.find(['a']).rows.height)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    started = time.monotonic()
    command = [sys.executable, "-c", script, str(tmp_path / "usage"), str(tmp_path / "cache")]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    assert time.monotonic() - started < 60


def gauge(sources: StoredUsageSources) -> list[str]:
    """The identifiers of this hour's rows of a meter."""
    now = utc_now()
    found = sources.rows(["gauge"], now - timedelta(hours=1), now)
    return [text for rows in found for text in rows[IDENTIFIER]]


def measured(identifier: str) -> bytes:
    return (HEADER + f"{identifier},{int(time.time()) - 60},gauge,cus_1,1\n").encode()


def test_only_files_written_since_the_time_began_are_asked_for_its_rows(
    folder: Path, sources: StoredUsageSources
) -> None:
    """Years of exports would be read for one window, none of which they can hold."""
    for name, hours in (("before.csv", 2), ("since.csv", 0)):
        (folder / name).write_bytes(measured(name))
        moment = time.time() - hours * 3600
        os.utime(folder / name, (moment, moment))
    assert gauge(sources) == ["since.csv"]


def test_rows_are_yielded_past_a_broken_file(folder: Path, sources: StoredUsageSources) -> None:
    """One bad export would hide every newer value that the good ones hold."""
    (folder / "bad.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "good.csv").write_bytes(measured("a"))
    assert gauge(sources) == ["a"]


@pytest.mark.parametrize("kind", ["0", "index", "facts"])
def test_rows_are_yielded_from_a_cache_that_was_damaged(
    folder: Path, sources: StoredUsageSources, tmp_path: Path, kind: str
) -> None:
    """After a power cut the cache may hold empty files, and a newer value would be overlooked."""
    (folder / "one.csv").write_bytes(measured("a"))
    assert gauge(sources) == ["a"]
    cached(tmp_path, kind)[0].write_bytes(b"")
    assert gauge(sources) == ["a"]


def test_rows_come_part_by_part(folder: Path, sources: StoredUsageSources, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a gigabyte would be held in memory whole."""
    monkeypatch.setattr("workers.sources.index._PART_BYTES", 1 << 12)
    row = measured("a").partition(b"\n")[2]
    (folder / "one.csv").write_bytes(HEADER.encode() + row * 1000)
    now = utc_now()
    heights = [part.height for part in sources.rows(["gauge"], now - timedelta(hours=1), now)]
    assert sum(heights) == 1000
    assert max(heights) < 500


def an_hour() -> tuple[datetime, datetime]:
    return utc_now() - timedelta(hours=1), utc_now()


def names(rows: Iterable[pl.DataFrame]) -> list[str]:
    return [text for part in rows for text in part[IDENTIFIER]]


def test_candidates_are_told_from_facts_that_outlive_the_process(
    folder: Path, sources: StoredUsageSources, tmp_path: Path
) -> None:
    """Each case would read every file of the day again."""
    (folder / "one.csv").write_bytes(usage("a", "b"))
    assert [file.records for file in sources.candidates(["tokens"], *an_hour()).files] == [2]
    for path in cached(tmp_path, "0"):
        path.unlink()
    (named,) = StoredUsageSources([str(folder)], tmp_path / "cache").candidates(["tokens"], *an_hour()).files
    assert (named.location, named.records) == (str(folder / "one.csv"), 2)
    assert cached(tmp_path, "0") == []


def test_a_candidate_that_cannot_be_read_is_named(folder: Path, sources: StoredUsageSources) -> None:
    """It may be the very file that Stripe refused: what was found elsewhere is not all."""
    (folder / "bad.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "good.csv").write_bytes(usage("a"))
    named = sources.candidates(None, *an_hour())
    assert [Path(file.location).name for file in named.files] == ["good.csv"]
    assert "bad.csv" in named.unusable[0]


def test_a_candidate_is_read_as_it_was_or_not_at_all(folder: Path, sources: StoredUsageSources) -> None:
    """Rows that were put in its place were never refused."""
    (folder / "one.csv").write_bytes(usage("a"))
    (named,) = sources.candidates(None, *an_hour()).files
    assert names(sources.rows_of(named, None)) == ["a"]
    (folder / "one.csv").write_bytes(usage("x", "y"))
    fresh = StoredUsageSources([str(folder)], folder.parent / "cache")
    with pytest.raises(FileUnusable, match=r"one\.csv: it has been taken away or written to"):
        list(fresh.rows_of(named, None))


def test_a_candidate_that_was_written_just_now_is_seen(folder: Path, sources: StoredUsageSources) -> None:
    """A listing of a second before would hide the file that a report is about."""
    (folder / "one.csv").write_bytes(usage("a"))
    sources.find(["a"])
    (folder / "two.csv").write_bytes(usage("b"))
    assert len(sources.candidates(None, *an_hour()).files) == 2


def test_parts_that_cannot_hold_a_row_of_the_name_and_time_stay_shut(
    folder: Path, sources: StoredUsageSources, tmp_path: Path
) -> None:
    """A window of a gauge would read all other meters; a time that nobody can read may be any."""
    now = utc_now()
    hour = now - timedelta(hours=1), now + timedelta(seconds=60)
    rows = {"late": int(time.time()) + 600, "odd": "today", "in": int(time.time())}
    for name, moment in rows.items():
        (folder / f"{name}.csv").write_bytes((HEADER + f"{name},{moment},gauge,cus_1,1\n").encode())
    (folder / "other.csv").write_bytes(usage("other"))
    assert set(names(sources.rows(["Gauge"], *hour))) == {"odd", "in"}
    for path in cached(tmp_path, "0"):
        if pl.read_parquet(path)[IDENTIFIER][0] in {"late", "other"}:
            path.write_bytes(b"never read")
    assert set(names(sources.rows(["Gauge"], *hour))) == {"odd", "in"}
    assert not sources.candidates(["Gauge"], *hour).files


def test_new_files_are_made_ready_a_few_at_a_turn(
    folder: Path, sources: StoredUsageSources, tmp_path: Path
) -> None:
    """The first case after a quiet day would read all the files of that day itself, or one turn of the clock."""
    for name in ("one", "two", "bad"):
        (folder / f"{name}.csv").write_bytes(usage(name) if name != "bad" else bytes(range(256)) * 20)
    assert sources.prepare(0) == 3
    assert sources.prepare(60) == 0
    assert len(cached(tmp_path, "index")) == 2
    for path in cached(tmp_path, "index"):
        path.unlink()
    assert sources.prepare(60) == 0
    assert cached(tmp_path, "index") == []
    (folder / "three.csv").write_bytes(usage("three"))
    other = StoredUsageSources([str(folder)], tmp_path / "cache")
    assert other.prepare(60) == 0
    assert len(cached(tmp_path, "index")) == 3
