"""If these fail, times sort wrongly in the ledger, or RQ refuses a job."""

import re
from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
import pytest
from hypothesis import given

from workers.kernel.clock import from_epoch, from_text, to_text, utc_now
from workers.kernel.jobqueue import job_id

moments = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 (hypothesis adds the zone)
    max_value=datetime(9000, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))]),
)


@given(moments)
def test_a_time_survives_being_written(moment: datetime) -> None:
    assert from_text(to_text(moment)) == moment
    assert len(to_text(moment)) == 27


@given(moments, moments)
def test_written_times_sort_as_times_do(one: datetime, other: datetime) -> None:
    assert (to_text(one) < to_text(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    ["2026-11-21T09:30:00Z", "2026-11-21T09:30:00.000+00:00", "2026-11-21T10:30:00+01:00", "2026-11-21T09:30:00"],
)
def test_every_way_of_writing_a_moment_is_read_as_utc(text: str) -> None:
    assert from_text(text) == from_epoch(1_795_253_400) == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    assert from_text(text).tzinfo is UTC


def test_the_present_is_aware() -> None:
    assert utc_now().utcoffset() == timedelta(0)


@given(st.text(min_size=1), st.integers(0, 99))
def test_every_job_id_is_one_that_rq_takes(subject: str, attempt: int) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", job_id(subject, attempt))


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_subjects_have_different_jobs(one: str, other: str) -> None:
    assert (job_id(one, 0) == job_id(other, 0)) == (one == other)


def test_a_stripe_id_stays_readable() -> None:
    assert job_id("evt_1SX2abc", 3) == "evt_1SX2abc-3"
