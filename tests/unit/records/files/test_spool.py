"""A frame that comes back from the disk as another one bills its records as another's."""

import os
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from workers.records.files.spool import Spool


def frame_of(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"identifier": [f"identifier-{rows}-{row}" for row in range(rows)], "rows": [rows] * rows})


def test_frames_come_back_as_they_were_whatever_was_kept_before_or_by_other_threads() -> None:
    sizes = [500, 3, 0, 2000, 1, 70] * 5
    spool = Spool()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(spool.put, range(len(sizes)), map(frame_of, sizes)))
    for number, rows in enumerate(sizes):
        kept = spool.get(number)
        assert kept is not None
        assert kept.equals(frame_of(rows))
    spool.close()


def test_a_frame_that_finds_no_room_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: object, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    spool = Spool()
    spool.put(1, frame_of(3))
    monkeypatch.setattr(os, "pwrite", full)
    spool.put(2, frame_of(3))
    monkeypatch.setattr(os, "pwrite", lambda _fd, data, _offset: len(data) - 1)
    spool.put(3, frame_of(3))
    assert spool.get(1) is not None
    assert (spool.get(2), spool.get(3)) == (None, None)
