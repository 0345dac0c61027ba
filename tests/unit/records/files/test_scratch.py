"""Bytes of one file that are left in the next one are records that nobody sent."""

import pytest

from workers.records.files import scratch
from workers.records.files.scratch import SCRATCH


def written(data: bytes) -> bytes:
    with SCRATCH.filled(lambda buffer: buffer.write(data)) as view:
        return bytes(view)


def test_nothing_is_left_of_what_was_written_before() -> None:
    assert [written(data) for data in (b"long ago", b"now", b"")] == [b"long ago", b"now", b""]


def test_a_failure_leaves_the_memory_fit_for_the_next() -> None:
    def fail(_view: memoryview) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError), SCRATCH.filled(lambda buffer: buffer.write(b"lost")) as view:
        fail(view)
    assert written(b"a longer text") == b"a longer text"


def test_a_rare_large_write_is_not_held_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker lives for weeks; one large archive must not stay in its memory."""
    monkeypatch.setattr(scratch, "MAX_KEPT_BYTES", 100)
    written(bytes(100))
    assert len(SCRATCH._data.getbuffer()) >= 100
    written(bytes(101))
    assert len(SCRATCH._data.getbuffer()) == 0
