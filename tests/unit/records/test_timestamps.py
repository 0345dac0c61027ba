"""The window of times, and the one reading of odd timestamps. A wrong hour is a wrong billing period."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.records import timestamps
from workers.records.timestamps import Window

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WINDOW = Window(NOW)
SECONDS = st.integers(WINDOW.oldest, WINDOW.newest)


def read(text: str, zone: str | None = None) -> int | None:
    seconds = pl.select(timestamps.read(pl.lit(text), WINDOW, zone)).item()
    assert seconds is None or isinstance(seconds, int)
    return seconds


def test_the_window_ends_exactly_at_35_days_and_5_minutes() -> None:
    assert datetime.fromtimestamp(WINDOW.oldest, UTC) == NOW - timedelta(days=35)
    assert datetime.fromtimestamp(WINDOW.newest, UTC) == NOW + timedelta(minutes=5)


def test_a_window_between_two_seconds_holds_only_whole_seconds_within() -> None:
    window = Window(NOW + timedelta(microseconds=1))
    assert (window.oldest, window.newest) == (WINDOW.oldest + 1, WINDOW.newest)


@given(SECONDS, st.sampled_from(list(timestamps.UNITS.values())), st.integers(0, 10**9 - 1))
@settings(max_examples=60)
def test_every_unit_of_a_time_in_the_window_is_read(seconds: int, unit: int, finer: int) -> None:
    assert read(str(seconds * unit + finer % unit)) == seconds


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=60)
def test_a_number_is_read_only_as_a_time_in_the_window(number: int) -> None:
    reading = read(str(number))
    assert reading is None or WINDOW.oldest <= reading <= WINDOW.newest


@given(SECONDS, st.integers(-14 * 60, 14 * 60), st.booleans())
@settings(max_examples=60)
def test_rfc_3339_is_read_as_python_reads_it(seconds: int, minutes: int, colon: bool) -> None:
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes)))
    text = moment.isoformat() if colon else moment.strftime("%Y-%m-%dT%H:%M:%S%z")
    assert read(text) == seconds


@given(st.text(max_size=30) | st.text(alphabet="0123456789-:TZ+. ", max_size=30))
@settings(max_examples=200)
def test_odd_text_is_read_or_left_but_never_breaks(text: str) -> None:
    read(text)
    read(text, "Europe/Berlin")
    pl.select(timestamps.doubt(pl.lit(text), WINDOW))


def test_a_date_is_midnight_in_utc() -> None:
    assert read("2026-11-20") == datetime(2026, 11, 20, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("text", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_a_local_time_that_a_clock_shows_twice_or_never_is_not_read(text: str) -> None:
    """Half of the records of that hour would go into the wrong one."""
    assert read(text, "Europe/Berlin") is None


def test_a_local_time_is_read_in_the_zone_of_the_rule_only() -> None:
    assert read("2026-11-20T10:00:00") is None
    assert read("2026-11-20T10:00:00", "America/New_York") == datetime(2026, 11, 20, 15, tzinfo=UTC).timestamp()


def test_a_zone_in_the_text_wins_over_the_rule() -> None:
    assert read("2026-11-20T10:00:00Z", "America/New_York") == datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()


def test_digits_beyond_64_bits_are_still_in_the_future() -> None:
    text = pl.Series(["9" * 30, "-" + "9" * 30, "12", "x", None])
    assert pl.select(timestamps.epoch_seconds(pl.lit(text))).to_series().to_list() == [
        2**63 - 1,
        -(2**63),
        12,
        None,
        None,
    ]
