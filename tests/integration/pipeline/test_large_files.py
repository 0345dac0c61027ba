"""A file of a million refused rows must not take a worker's memory: then the whole file would stay unbilled."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from tests.integration.pipeline.loop import Loop, usage
from workers.kernel.errors import FileUnusable
from workers.kernel.ledger.journal import Bucket
from workers.pipeline.intake import import_set
from workers.pipeline.intake.import_files import failed_rows

Rows = Callable[..., Iterator[pl.DataFrame]]
ROWS = 5


def test_refused_rows_are_taken_in_part_by_part(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    monkeypatch.setattr(import_set, "failed_rows", one_by_one(failed_rows, held))
    upload_refused_rows(loop)
    assert loop.balance.failed.records == ROWS
    assert held == [0] * ROWS


def test_of_a_file_that_breaks_off_no_row_is_taken_in(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a file that is not as Stripe wrote it may be cut: a person sees it first."""
    monkeypatch.setattr(import_set, "failed_rows", broken_off(failed_rows))
    upload_refused_rows(loop)
    assert loop.balance.failed.records == ROWS
    assert loop.balance[Bucket.QUARANTINED].records == ROWS


def upload_refused_rows(loop: Loop) -> None:
    loop.upload("day.csv", usage(*(f"use-{row},2026-11-20T10:00:00Z,api_requests,cus_1,1" for row in range(ROWS))))
    loop.stripe_works()


def one_by_one(rows: Rows, held: list[int]) -> Rows:
    """Give each row as a frame of its own, and note before the next how many earlier ones are still held."""

    def watched(*given: Any) -> Iterator[pl.DataFrame]:
        frames = list(rows(*given))
        given_out: list[weakref.ref[pl.DataFrame]] = []
        for frame in pl.concat(frames).iter_slices(1):
            part = frame.clone()
            given_out.append(weakref.ref(part))
            yield part
            del part
            held.append(sum(one() is not None for one in given_out[:-1]))

    return watched


def broken_off(rows: Rows) -> Rows:
    def cut(*given: Any) -> Iterator[pl.DataFrame]:
        for frame in rows(*given):
            yield frame.head(2)
        raise FileUnusable("it breaks off", where="failed-records")

    return cut
