"""The window of times, and the one reading of odd timestamps. A wrong hour is a wrong billing period."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
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
def test_every_unit_of_a_time_in_the_window_is_read(seconds: int, unit: int, finer: int) -> None:
    assert read(str(seconds * unit + finer % unit)) == seconds


@given(st.integers(0, 2**63 - 1))
def test_a_number_is_read_only_as_a_time_in_the_window(number: int) -> None:
    reading = read(str(number))
    assert reading is None or WINDOW.oldest <= reading <= WINDOW.newest


@given(SECONDS, st.integers(-14 * 60, 14 * 60), st.booleans())
def test_rfc_3339_is_read_as_python_reads_it(seconds: int, minutes: int, colon: bool) -> None:
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes)))
    text = moment.isoformat() if colon else moment.strftime("%Y-%m-%dT%H:%M:%S%z")
    assert read(text) == seconds


@given(st.text(max_size=30) | st.text(alphabet="0123456789-:TZ+. ", max_size=30))
def test_odd_text_is_read_or_left_but_never_breaks(text: str) -> None:
    read(text)
    read(text, "Europe/Berlin")
    pl.select(timestamps.doubt(pl.lit(text), WINDOW))


NOON = int(datetime(2026, 11, 19, 12, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-19 12:00:00+00",
        "2026-11-19 12:00:00 UTC",
        "2026-11-19 12:00:00 +0000 UTC",
        "2026-11-19 13:00:00.123+01",
        "2026-11-19 13:00:00.123456789 +0100 CET m=+0.000012",
        "2026-11-19 15:00:00 +0300 +03",
        "2026-11-19T12:00Z",
        "2026-11-19 12:00+00",
        "2026-11-19 17:30+05:30",
        "2026-11-19T12:00:00Z[UTC]",
        "2026-11-19T13:00:00+01:00[Europe/Berlin]",
        "2026-11-19T07:00-05:00[America/New_York]",
        "2026-11-19T17:45:00+05:45[Asia/Kathmandu]",
        "2026-11-19T12:00:00Z[Europe/London]",
        "2026-11-19 20:00:00 +0800 CST",
        "2026-11-19 06:00:00 -0600 CST",
        "2026-11-19 13:00:00 +0100 XYZ",
        "Thu Nov 19 2026 13:00:00 GMT+0100 (CET)",
        "2026-11-19T12:00:00,123Z",
        "2026-11-19 12:00:00.0000000 +00:00",
        "2026-11-19 12:00:00 GMT",
        "2026-11-19 12:00:00 Z",
        "Thu, 19 Nov 2026 12:00:00 GMT",
        "Thu, 19 Nov 2026 13:00:00 +0100",
        "19 Nov 2026 12:00:00 +0000",
        "Thursday, 19 November 2026 12:00 UTC",
        "Thu Nov 19 2026 13:00:00 GMT+0100 (Central European Standard Time)",
        "Thu Nov 19 12:00:00 UTC 2026",
        "Thu Nov 19 12:00:00 +0000 2026",
        "20261119T120000Z",
        "20261119T130000+0100",
        "19-Nov-2026 12:00:00 GMT",
    ],
)
def test_times_are_read_as_languages_and_databases_print_them(text: str) -> None:
    """Each was a record that somebody had to write anew by hand, or that nobody billed."""
    assert read(text) == NOON
    assert read(text, "America/New_York") == NOON


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-19 12:00",
        "2026-11-19 12:00:00.123",
        "Thu Nov 19 12:00:00 2026",
        "Thu, 19 Nov 2026 12:00:00",
        "Thu Nov 19 12:00:00 CET 2026",
        "2026-11-19 12:00:00 PST",
        "Mon, 19 Nov 2026 12:00:00 GMT",
        "2026-11-19 13:00:00 +0100 UTC",
        "2026-11-19 15:00:00 +0300 +04",
        "2026-11-19T12:00:00+01:00[America/New_York]",
        "2026-11-19T12:00:00-05:00[Europe/Berlin]",
        "2026-11-19T12:00:00+02:00[Europe/Berlin]",
        "2026-07-19T12:00:00+01:00[Europe/Berlin]",
        "2026-03-29T02:30:00+01:00[Europe/Berlin]",
        "2026-11-19T12:00:00Z[America/New_York]",
        "2026-11-19T12:00:00+01:00[Mars/Olympus]",
        "2026-11-19 13:00:00 +0100 EST",
        "2026-11-19 13:00:00 +0100 CST",
        "2026-11-19 13:00:00 +0200 CET",
        "Thu Nov 19 2026 13:00:00 GMT+0100 (PST)",
        "2026-02-30 12:00:00Z",
        "31 Feb 2026 12:00:00 GMT",
        "2026-11-19 24:00:00 UTC",
        "2026-11-19 12:00.5Z",
        "2026-11-19 12:00:00+24",
        "27.11.2026",
        "11/27/2026 14:05",
        "20261119T126000Z",
        "20261119",
        "Thu, 19 Nov 26 12:00:00 GMT",
    ],
)
def test_a_time_without_a_zone_or_against_itself_is_not_read(text: str) -> None:
    """An hour guessed is usage in the wrong hour, at the end of a month in the wrong invoice."""
    assert read(text) is None


def test_times_of_many_zones_are_each_read_by_their_own() -> None:
    texts = [
        "2026-11-19T13:00:00+01:00[Europe/Berlin]",
        None,
        "2026-11-19T12:00:00+01:00[America/New_York]",
        "2026-11-19T07:00:00-05:00[America/New_York]",
        "2026-11-19T12:00:00Z",
        "2026-10-25T02:30:00+02:00[Europe/Berlin]",
        "2026-10-25T02:30:00+01:00[Europe/Berlin]",
        "x",
        "2026-11-19T12:00:00+01:00[Nowhere]",
    ]
    seconds = pl.DataFrame({"text": texts}).select(timestamps.read(pl.col("text"), WINDOW)).to_series().to_list()
    assert seconds == [NOON, None, None, NOON, NOON, 1792888200, 1792891800, None, None]


@given(
    SECONDS,
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(
        ["%a, %d %b %Y %H:%M:%S %z", "%a %b %d %Y %H:%M:%S GMT%z", "%a %b %d %H:%M:%S %z %Y", "%Y%m%dT%H%M%S%z"]
    ),
)
def test_a_named_month_is_read_as_python_writes_it(seconds: int, minutes: int, form: str) -> None:
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes)))
    assert read(moment.strftime(form)) == seconds


def by_formats(text: str, *formats: str, zone: str = "UTC") -> str | None:
    moment = pl.select(pl.from_epoch(timestamps.read_formats(pl.lit(text), formats, zone))).item()
    return None if moment is None else str(moment)


@pytest.mark.parametrize(
    ("form", "text", "moment"),
    [
        ("dd.MM.yyyy", "27.11.2026", "2026-11-27 00:00:00"),
        ("MM/dd/yyyy HH:mm", "11/27/2026 14:05", "2026-11-27 14:05:00"),
        ("d.M.yyyy", "7.1.2026", "2026-01-07 00:00:00"),
        ("dd.MM.yyyy", "7.1.2026", None),
        ("M/d/yy h:mm a", "11/27/26 2:05 PM", "2026-11-27 14:05:00"),
        ("M/d/yy h:mm a", "11/27/26 12:05 am", "2026-11-27 00:05:00"),
        ("M/d/yy h:mm a", "11/27/26 13:05 AM", None),
        ("dd.MM.yyyy 'um' HH:mm 'Uhr'", "27.11.2026 um 14:05 Uhr", "2026-11-27 14:05:00"),
        ("yyyy/MM/dd HH:mm:ss", "2026/11/27 14:05:09", "2026-11-27 14:05:09"),
        ("yyyy-dd-MM", "2026-12-11", "2026-11-12 00:00:00"),
        ("dd.MM.yyyy", "31.02.2026", None),
        ("dd.MM.yyyy", "11/27/2026", None),
        ("dd.MM.yyyy HH:mm", "27.11.2026 25:00", None),
    ],
)
def test_a_format_reads_what_is_written_in_it(form: str, text: str, moment: str | None) -> None:
    assert by_formats(text, form) == moment


def test_two_formats_that_read_a_text_differently_leave_it_alone() -> None:
    """03/04 is in March to one office and in April to the other."""
    formats = ("MM/dd/yyyy", "dd/MM/yyyy")
    assert by_formats("03/04/2026", *formats) is None
    assert by_formats("04/04/2026", *formats) == "2026-04-04 00:00:00"
    assert by_formats("11/27/2026", *formats) == "2026-11-27 00:00:00"


def test_two_formats_leave_a_text_alone_also_where_a_clock_shows_one_of_its_times_twice() -> None:
    """1 November at 1:30, when New York's clocks go back, was billed in January."""
    formats = ("dd/MM/yyyy HH:mm", "MM/dd/yyyy HH:mm")
    assert by_formats("01/11/2026 01:30", *formats, zone="America/New_York") is None
    assert by_formats("01/13/2026 01:30", *formats, zone="America/New_York") == "2026-01-13 06:30:00"


BOTH = ("dd.MM.yyyy HH:mm", "MM/dd/yyyy", "dd/MM/yyyy")
TWICE = "the clock of Europe/Berlin (rule naive_zone) shows this time twice or never"
NO_TIME = "there is no such date, or no such time of day"


@pytest.mark.parametrize(
    ("text", "formats", "zone", "sentence"),
    [
        ("25.10.2026 02:30", BOTH, "Europe/Berlin", TWICE),
        ("29.03.2026 02:30", BOTH, "Europe/Berlin", TWICE),
        ("2026-10-25 02:30:00", BOTH, "Europe/Berlin", TWICE),
        ("2026-10-25 02:30:00", (), "Europe/Berlin", TWICE),
        ("2026-11-19 12:00:00", (), None, "the time has no zone (rule naive_zone)"),
        ("2026-11-19T12:00", BOTH, None, "the time has no zone (rule naive_zone)"),
        (
            "11/12/2026",
            BOTH,
            "Europe/Berlin",
            "formats of the rule timestamps.formats read it as 2026-11-12 00:00:00 or as 2026-12-11 00:00:00",
        ),
        (
            "03/04/2026",
            BOTH,
            None,
            "formats of the rule timestamps.formats read it as 2026-03-04 00:00:00 or as 2026-04-03 00:00:00",
        ),
        ("31.02.2026 10:00", BOTH, None, NO_TIME),
        ("27.11.2026 25:00", BOTH, "Europe/Berlin", NO_TIME),
        ("13/32/2026", BOTH, None, NO_TIME),
        ("2026-02-30 12:00:00Z", (), None, NO_TIME),
        ("2026-02-30", (), "Europe/Berlin", NO_TIME),
        ("31 Feb 2026 12:00:00 GMT", (), None, NO_TIME),
        ("2026-11-19T12:00:00+01:00[America/New_York]", (), None, "its zone and its offset contradict each other"),
        ("2026-11-19 13:00:00 +0100 EST", BOTH, "UTC", "its zone and its offset contradict each other"),
        ("2026-11-19 13:00:00 +0100 UTC", (), None, "its zone and its offset contradict each other"),
        ("Mon, 19 Nov 2026 12:00:00 GMT", (), None, "its weekday is not the one of its date"),
        ("27-11-2026", (), None, "not epoch seconds, RFC 3339 or yyyy-MM-dd (rule timestamps.formats)"),
        (
            "27-11-2026",
            BOTH,
            None,
            "not epoch seconds, RFC 3339, yyyy-MM-dd or in a format of the rule timestamps.formats",
        ),
        ("1.76E+09", BOTH, None, "a spreadsheet may have rounded this timestamp"),
        ("20261119", BOTH, None, "looks like the date 2026-11-19 without separators"),
    ],
)
def test_a_person_is_told_the_cause_for_which_a_time_waits(
    text: str, formats: tuple[str, ...], zone: str | None, sentence: str
) -> None:
    """Told to write a rule that is there, nobody finds out what else to do, and the record is never billed."""
    assert pl.select(timestamps.doubt(pl.lit(text), WINDOW, formats, zone)).item() == sentence


def test_a_format_is_in_the_zone_of_the_rule() -> None:
    assert by_formats("27.11.2026 01:30", "dd.MM.yyyy HH:mm", zone="Europe/Berlin") == "2026-11-27 00:30:00"
    assert by_formats("25.10.2026 02:30", "dd.MM.yyyy HH:mm", zone="Europe/Berlin") is None


@pytest.mark.parametrize(
    "form",
    [
        "yyyyMMdd",
        "dd.MM",
        "%d.%m.%Y",
        "dd.MM.yyyy hh:mm",
        "dd.MM.yyyy HH:mm a",
        "dd.dd.MM.yyyy",
        "dd.MM.yyyy 'x",
        "DD.MM.YYYY",
        "dd.MM.yyyy H:hh a",
        "",
        "dd.MMM.yyyy",
    ],
)
def test_a_format_that_names_no_date_is_an_error(form: str) -> None:
    with pytest.raises(ValueError, match=r"format|needs|nothing between"):
        timestamps.pattern_of(form)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("2026-11-19", True),
        ("2026-11-19T12:00:00Z", True),
        ("2026-11-19T12:00:00+0100", True),
        ("2026-11-19T12:00:00-05:30", True),
        ("2026-11-19T12:00:00", False),
        ("2026-11-19 12:00:00Z", False),
        ("2026-11-19T12:00Z", False),
        ("2026-11-19T12:00:00.5Z", False),
        ("19.11.2026", False),
        ("2026-02-30", False),
        (" 2026-11-19", False),
        ("2026-11-19T12:00:00 UTC", False),
    ],
)
def test_the_dashboard_takes_its_own_forms_and_no_other(text: str, taken: bool) -> None:
    assert (pl.select(timestamps.dashboard_seconds(pl.lit(text))).item() is not None) == taken


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
