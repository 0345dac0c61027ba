"""A record set is the proof of what was seen and sent: what is none must not be taken for an empty one."""

from pathlib import Path

import polars as pl
import pytest

from workers.kernel.errors import Corrupt
from workers.records.schema import scan_record_set

FRAME = pl.DataFrame({"@row": [1, 2], "payload_value": ["0.10", None]})


def test_a_set_reads_back_as_it_was(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "set.parquet")
    assert scan_record_set(tmp_path / "set.parquet").collect().equals(FRAME)


def test_a_broken_set_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "set.parquet").write_bytes(b"not parquet")
    with pytest.raises(Corrupt, match="is no record set"):
        scan_record_set(tmp_path / "set.parquet")
