"""One contract for the real usage sources (directory, S3) and the double: what was billed wrong is found again."""

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath

import polars as pl
import pytest

from tests.recording import RecordingUsageSources
from workers.kernel.clock import utc_now
from workers.kernel.storage import open_store
from workers.records.files.open import open_file
from workers.records.schema import CUSTOMER, IDENTIFIER, READER_COLUMNS, ROW, SOURCE, VALUE, WRITTEN, dtype_of
from workers.sources import StoredUsageSources, UsageSources

pytestmark = pytest.mark.xdist_group("s3")

Build = Callable[[Mapping[str, bytes]], UsageSources]

HEADER = "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\n"
MARCH = (HEADER + "a-1,1795250000,tokens,cus_1,0100\na-2,1795250001,tokens,cus_2,1.50\n").encode()
APRIL = json.dumps(
    [
        {
            "identifier": "b-1",
            "timestamp": 1795250002,
            "event_name": "calls",
            "payload": {"value": 7, "stripe_customer_id": "cus_3", "region": "eu"},
        }
    ]
).encode()
MAY = gzip.compress(
    b'{"identifier":"c-1","timestamp":1795250003,"event_name":"calls","payload":{"value":12345678901234567890}}\n'
)


@pytest.fixture(params=["directory", "s3", "recording"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    folder = tmp_path / "usage"

    def on_disk(files: Mapping[str, bytes]) -> StoredUsageSources:
        write(folder, files)
        return StoredUsageSources([str(folder)], tmp_path / "cache")

    def on_s3(files: Mapping[str, bytes]) -> StoredUsageSources:
        store = open_store(url := request.getfixturevalue("s3"))
        for path in write(folder, files):
            store.put_file(path.relative_to(folder).as_posix(), path)
        return StoredUsageSources([url], tmp_path / "cache")

    def recorded(files: Mapping[str, bytes]) -> RecordingUsageSources:
        paths = write(folder, files)
        written = pl.lit(utc_now(), dtype_of(WRITTEN)).alias(WRITTEN)
        frames = [
            usage.read(part).with_columns(written) for usage in map(open_file, paths) for part in usage.parts()
        ]
        return RecordingUsageSources(pl.concat(frames, how="diagonal"), {path.name: path for path in paths})

    builders: dict[str, Build] = {"directory": on_disk, "s3": on_s3, "recording": recorded}
    return builders[request.param]


def write(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def test_records_are_found_in_every_shape_with_their_text_untouched(build: Build) -> None:
    """A quantity that comes back as a float bills another amount."""
    sources = build({"march.csv": MARCH, "in/april.json": APRIL, "may.jsonl.gz": MAY})
    found = sources.find(["a-1", "c-1", "b-1"])
    rows = {row[IDENTIFIER]: row for row in found.rows.rows(named=True)}
    assert set(rows) == {"a-1", "b-1", "c-1"}
    assert rows["a-1"][VALUE] == "0100"
    assert rows["c-1"][VALUE] == "12345678901234567890"
    assert (rows["b-1"][CUSTOMER], rows["b-1"]["payload_region"]) == ("cus_3", "eu")
    assert (rows["a-1"][SOURCE], rows["a-1"][ROW]) == ("march.csv", 1)
    assert found.unusable == ()


def test_the_frame_is_canonical(build: Build) -> None:
    for identifiers in (["a-1"], ["nowhere"]):
        records = build({"march.csv": MARCH}).find(identifiers).rows
        assert records.columns[-len(READER_COLUMNS) :] == list(READER_COLUMNS)
        assert records.schema[ROW] == pl.Int64
        assert records.schema == {name: dtype_of(name) for name in records.columns}


def test_what_stands_nowhere_is_missing(build: Build) -> None:
    found = build({"march.csv": MARCH}).find(pl.Series(["a-2", "z-9", None, "z-9"]))
    assert found.rows[IDENTIFIER].to_list() == ["a-2"]


def test_every_row_that_carries_an_identifier_is_shown(build: Build) -> None:
    """Which of them Stripe refused is for the report to say: the others were billed."""
    other = HEADER.encode() + b"a-1,1795250000,tokens,cus_1,0999\n"
    found = build({"march.csv": MARCH, "other.csv": other}).find(["a-1", "a-2"])
    shown = found.rows.sort(SOURCE, ROW).select(SOURCE, ROW, VALUE).rows()
    assert shown == [("march.csv", 1, "0100"), ("march.csv", 2, "1.50"), ("other.csv", 1, "0999")]


def test_a_row_has_the_time_at_which_its_file_was_last_written(build: Build) -> None:
    """A row of last week's file would be taken for the one that Stripe refused today."""
    found = build({"march.csv": MARCH}).find(["a-1"])
    (written,) = found.rows[WRITTEN]
    assert abs(written - utc_now()) < timedelta(minutes=5)


def test_a_whole_file_is_found_by_its_base_name(build: Build) -> None:
    sources = build({"in/march.csv": MARCH, "april.json": APRIL})
    path = sources.file("somewhere/else/march.csv", utc_now())
    assert path is not None
    assert path.read_bytes() == MARCH
    assert sources.file("june.csv", utc_now()) is None


def test_nothing_asked_is_nothing_found(build: Build) -> None:
    found = build({"march.csv": MARCH}).find([])
    assert found.rows.height == 0


def test_the_rows_of_a_meter_and_a_time_are_yielded_whatever_their_identifiers(build: Build) -> None:
    """Whether a newer value stands there would stay unknown; a time in another form is the caller's to judge."""
    start = utc_now() - timedelta(hours=1)
    first = int(start.timestamp())
    times = [first - 1, first, first + 60, first + 120, f"{first}000", "2026-11-21"]
    rows = [f",{time},tokens,cus_{number},1\n" for number, time in enumerate(times)]
    other = f",{first},calls,cus_1,1\n"
    sources = build({"march.csv": (HEADER + "".join(rows) + other).encode(), "april.json": APRIL})
    found = pl.concat(sources.rows(["tokens"], start, start + timedelta(seconds=120)), how="diagonal")
    assert found[CUSTOMER].to_list() == ["cus_1", "cus_2", "cus_4", "cus_5"]
    assert found.select(SOURCE, ROW).row(0) == ("march.csv", 2)


def test_the_files_that_stripe_can_have_validated_are_named_with_what_they_hold(build: Build) -> None:
    """A file that is overlooked loses every refused record in it; one too many makes two claims of one refusal."""
    sources = build({"march.csv": MARCH, "april.json": APRIL, "may.jsonl.gz": MAY})
    start, end = utc_now() - timedelta(hours=1), utc_now() + timedelta(seconds=1)
    named = sources.candidates(["calls"], start, end)
    shown = {PurePosixPath(file.location).name: file for file in named.files}
    assert {name: file.records for name, file in shown.items()} == {"april.json": 1, "may.jsonl.gz": 1}
    assert {file.records for file in sources.candidates(None, start, end).files} == {2, 1}
    assert sources.candidates(["Calls"], start, end).files == []
    assert sources.candidates(["calls"], start - timedelta(days=1), start).files == []
    (rows,) = sources.rows_of(shown["april.json"], ["calls"])
    assert rows.select(IDENTIFIER, VALUE, CUSTOMER, ROW, SOURCE).row(0) == ("b-1", "7", "cus_3", 1, "april.json")
    assert rows[WRITTEN].to_list() == [shown["april.json"].written]
    assert set(READER_COLUMNS) <= set(rows.columns)
