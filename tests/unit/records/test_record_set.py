"""A record set is the proof of what was seen and sent: it must not depend on chance, nor change unnoticed."""

from pathlib import Path

import polars as pl
import pytest

from workers.kernel.errors import Corrupt
from workers.records import record_set
from workers.records.record_set import digest_of, scan_record_set, write_record_set

FRAME = pl.DataFrame(
    {
        "@row": range(1000),
        "identifier": [f"id{n}" for n in range(1000)],
        "payload_value": ["0.10", None, "007", "é"] * 250,
    }
)


def test_the_same_records_give_the_same_digest_however_they_are_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_set, "ROW_GROUP", 64)
    digests = {
        write_record_set([FRAME[at : at + step] for at in range(0, 1000, step)], tmp_path / f"{step}.parquet")
        for step in (1000, 333, 64, 7)
    }
    assert digests == {write_record_set(FRAME, tmp_path / "whole.parquet")}


def test_a_set_reads_back_as_it_was(tmp_path: Path) -> None:
    digest = write_record_set(iter([FRAME]), tmp_path / "set.parquet")
    assert scan_record_set(tmp_path / "set.parquet", digest).collect().equals(FRAME)
    assert digest == digest_of(tmp_path / "set.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["set.parquet"]


def test_an_empty_set_keeps_its_columns(tmp_path: Path) -> None:
    write_record_set(FRAME.clear(), tmp_path / "set.parquet")
    assert scan_record_set(tmp_path / "set.parquet").collect().schema == FRAME.schema


def test_no_frame_at_all_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a frame"):
        write_record_set([], tmp_path / "set.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_changed_or_broken_set_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    digest = write_record_set(FRAME, path)
    changed = bytearray(path.read_bytes())
    changed[100] ^= 1
    path.write_bytes(bytes(changed))
    with pytest.raises(Corrupt, match="is not the record set"):
        scan_record_set(path, digest)
    path.write_bytes(b"not parquet")
    with pytest.raises(Corrupt, match="is no record set"):
        scan_record_set(path)
