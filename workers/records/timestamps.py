"""Times: the window in which Stripe takes a record, and the one reading of a timestamp that is no epoch seconds.

Stripe takes records up to 35 days old and 5 minutes ahead (Stripe docs, "Record usage with the API"); its files
carry epoch seconds (Stripe docs, "Record usage in bulk"), the Dashboard also takes `yyyy-MM-dd` and
`yyyy-MM-dd'T'HH:mm:ssZ` (Stripe docs, "Record usage in bulk with the Dashboard").

A text has one reading when it is

- digits that are seconds, milli-, micro- or nanoseconds within the window: the units lie a factor of 1000 apart and
  the window is narrow, so one unit at most fits;
- RFC 3339 or one of the Dashboard's forms; a date alone is midnight UTC; what is finer than a second is cut off;
- a time with its zone as languages and databases print it (`_ZONED`, `_NAMED_MONTH` and `_COMPACT` say which);
- a local time, where a rule names its zone and the zone's clock shows that time exactly once;
- in a format that a rule names, in UTC unless the rule names a zone as well.

Leap seconds, `24:00:00`, dates that the calendar lacks, a weekday that is not the date's and zones that contradict
each other have none. Everything here is vectorised.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from workers.records.quantities import bare_text
from workers.records.schema import MAX_AGE, MAX_AHEAD

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
UNITS: Final = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}

_INTEGER: Final = r"^-?[0-9]+$"
_NUMBER: Final = r"^([0-9]+)(?:\.[0-9]+)?$"
_DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MINUTES: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME: Final = rf"{_MINUTES}(?::[0-5][0-9](?:[.,][0-9]+)?)?"
_OFFSET: Final = r"[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?"
_UTC: Final = "Z|z|UTC|GMT"
_FORM: Final = (
    rf"^(?P<date>{_DATE})(?:[Tt ](?P<time>{_TIME})"
    rf"(?: ?(?:(?P<utc>{_UTC})|(?P<offset>{_OFFSET})(?: (?P<zone>[A-Z]{{2,5}}|[+-][0-9]{{2,4}}))?)"
    r"(?:\[(?P<region>[A-Za-z0-9_+/-]+)\]| m=[+-][0-9.]+)?)?)?$"
)
"""ISO 8601 and what comes close to it, with these endings, by example of who prints them:

`Z`, `+01:00`, `+0100` (RFC 3339, Python, Ruby, JavaScript), `+00`, `.123+01` (PostgreSQL), ` UTC` (BigQuery, Ruby),
` +0000` (Ruby), ` +00:00` (SQL Server), ` +0000 UTC`, ` +0100 CET m=+0.5` (Go), `+01:00[Europe/Berlin]` (Java); the
fraction of a second after a point or a comma; without seconds (Java, HTML forms).
"""
_OFFSETS: Final = {
    -660: "SST", -600: "HST", -540: "AKST HDT", -480: "PST AKDT", -420: "MST PDT", -360: "CST MDT",
    -300: "EST CDT CST", -240: "AST EDT CDT", -210: "NST", -180: "ADT", -150: "NDT", 0: "UTC GMT WET",
    60: "CET MET BST WEST WAT IST", 120: "EET CEST MEST CAT SAST IST", 180: "MSK EEST EAT IDT AST", 300: "PKT",
    330: "IST", 420: "WIB", 480: "AWST CST HKT PST WITA", 540: "JST KST WIT", 570: "ACST", 600: "AEST",
    630: "ACDT", 660: "AEDT", 720: "NZST", 780: "NZDT",
}  # fmt: skip
"""Minutes ahead of UTC, and the short names of zones that stand for them (IANA); some stand for several."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAY: Final = r"(?:(?P<weekday>Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?"
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*"
_ZONE: Final = rf"(?P<zone>{_UTC}|{_OFFSET})"
_NAMED: Final = rf"(?P<zone>{_UTC}|{_OFFSET}(?: \([A-Z]{{2,5}}\))?)"
_NAMED_MONTH: Final = (
    rf"^{_WEEKDAY}(?P<day>[0-9]{{1,2}})[ -]{_MONTH}[ -](?P<year>[0-9]{{4}}) (?P<time>{_TIME}) {_ZONE}$",
    rf"^{_WEEKDAY}{_MONTH} (?P<day>[0-9]{{1,2}}) (?P<year>[0-9]{{4}}) (?P<time>{_TIME}) GMT{_NAMED}(?: \(.*\))?$",
    rf"^{_WEEKDAY}{_MONTH} +(?P<day>[0-9]{{1,2}}) (?P<time>{_TIME}) {_ZONE} (?P<year>[0-9]{{4}})$",
)
"""Forms with the month's name, by example: `Thu, 19 Nov 2026 12:00:00 GMT` (HTTP, e-mail, `toUTCString`),
`Thu Nov 19 2026 13:00:00 GMT+0100 (CET)` (JavaScript), `Thu Nov 19 12:00:00 UTC 2026` (Java, Unix `date`)."""
_COMPACT: Final = (
    rf"^(?P<year>[0-9]{{4}})(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})T"
    rf"(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})(?P<second>[0-9]{{2}})(?:[.,][0-9]+)?(?P<zone>Z|{_OFFSET})$"
)
"""ISO 8601 without separators: `20261119T120000Z` (AWS, iCalendar)."""
_DASHBOARD: Final = rf"^{_DATE}(?:T{_MINUTES}:[0-5][0-9](?:Z|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9]))?$"
"""`yyyy-MM-dd` and `yyyy-MM-dd'T'HH:mm:ssZ` (Stripe docs, "Record usage in bulk with the Dashboard")."""
_FIELDS: Final = {
    "yyyy": r"(?P<year>[0-9]{4})", "yy": r"(?P<short_year>[0-9]{2})", "MM": r"(?P<month>[0-9]{2})",
    "M": r"(?P<month>[0-9]{1,2})", "dd": r"(?P<day>[0-9]{2})", "d": r"(?P<day>[0-9]{1,2})",
    "HH": r"(?P<hour>[0-9]{2})", "H": r"(?P<hour>[0-9]{1,2})", "hh": r"(?P<half_hour>[0-9]{2})",
    "h": r"(?P<half_hour>[0-9]{1,2})", "mm": r"(?P<minute>[0-9]{2})", "ss": r"(?P<second>[0-9]{2})",
    "a": r"(?P<half>[AaPp][Mm])",
}  # fmt: skip
"""What may stand in the format of a rule, written as Stripe's documentation writes formats."""
_PIECE: Final = re.compile(r"'(?P<text>[^']*)'|(?P<field>([A-Za-z])\3*)|(?P<mark>[^A-Za-z'])")
_HAS_ZONE: Final = pl.col("time").is_null() | pl.any_horizontal(pl.col("utc", "offset").is_not_null())
"""Of what `_FORM` has taken apart; a date alone is midnight in UTC."""
_NO_SUCH_TIME: Final = "there is no such date, or no such time of day"
_PLAUSIBLE: Final = timedelta(days=3650)
_SERIAL_EPOCH: Final = datetime(1899, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """The epoch seconds that Stripe takes at one moment, both ends included."""

    now: datetime

    @property
    def oldest(self) -> int:
        """The first whole second that is not older than 35 days."""
        return -((EPOCH - self.now + MAX_AGE) // timedelta(seconds=1))

    @property
    def newest(self) -> int:
        """The last whole second that is not more than 5 minutes ahead."""
        return (self.now - EPOCH + MAX_AHEAD) // timedelta(seconds=1)

    def holds(self, seconds: pl.Expr) -> pl.Expr:
        """Tell whether the epoch seconds are taken."""
        return seconds.is_between(self.oldest, self.newest)


def is_integer(text: pl.Expr) -> pl.Expr:
    """Tell whether the text has the form of epoch seconds: digits, with a leading minus at most."""
    return text.str.contains(_INTEGER)


def epoch_seconds(text: pl.Expr) -> pl.Expr:
    """Return the epoch seconds of integers as Int64, at most the largest for digits beyond it; else null."""
    seconds = text.cast(pl.Int64, strict=False)
    beyond = pl.when(text.str.starts_with("-")).then(pl.lit(-(2**63))).otherwise(pl.lit(2**63 - 1))
    return pl.when(is_integer(text)).then(pl.coalesce(seconds, beyond))


def read(text: pl.Expr, window: Window, zone: str | None = None) -> pl.Expr:
    """Return a timestamp's one reading as Int64 epoch seconds, or null. `zone` (IANA) is that of local times."""
    core = bare_text(text)
    units = [_number(core).floordiv(unit) for unit in UNITS.values()]
    in_window = (pl.when(window.holds(seconds)).then(seconds) for seconds in units)
    return pl.coalesce(*in_window, _read_form(core, zone))


def fits(text: pl.Expr, formats: Sequence[str]) -> pl.Expr:
    """Tell whether a timestamp has one of the formats that a rule names."""
    core = bare_text(text)
    return pl.any_horizontal(pl.lit(value=False), *(core.str.contains(pattern_of(form)) for form in formats))


def read_formats(text: pl.Expr, formats: Sequence[str], zone: str) -> pl.Expr:
    """Return the epoch seconds (Int64) that all formats which the timestamp has agree in, else null."""
    first, last = _ends_of_formats(bare_text(text), formats)
    return pl.when(first == last).then(_in_zone(first, zone))


def dashboard_seconds(text: pl.Expr) -> pl.Expr:
    """Return the epoch seconds of the forms that the Dashboard takes beside epoch seconds; else null."""
    return pl.when(text.str.contains(_DASHBOARD)).then(_read_form(text, zone=None))


def pattern_of(form: str) -> str:
    """Return the regular expression of a format such as `dd.MM.yyyy HH:mm`.

    Raises ValueError where it names no date, an unknown field, or one twice, and where nothing but digits would
    fit: those are read as seconds.
    """
    pieces = list(_PIECE.finditer(form))
    fields = [piece["field"] for piece in pieces if piece["field"]]
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown or "".join(piece[0] for piece in pieces) != form:
        raise ValueError(f"{form!r} is no format: it may have {', '.join(_FIELDS)}, and other text in quotes")
    kinds = [name[0] for name in fields]
    hours = sorted(kind for kind in kinds if kind in "Hha")
    if not {"y", "M", "d"} <= set(kinds) or len(set(kinds)) < len(kinds) or hours not in ([], ["H"], ["a", "h"]):
        raise ValueError(f"{form!r} needs a year, a month and a day, each field once, and a with h only")
    if len(fields) == len(pieces):
        raise ValueError(f"{form!r} has nothing between its numbers: what fits it is read as epoch seconds")
    parts = (_FIELDS.get(piece["field"] or "") or re.escape(piece["text"] or piece[0]) for piece in pieces)
    return f"^{''.join(parts)}$"


def doubt(text: pl.Expr, window: Window, formats: Sequence[str] = (), zone: str | None = None) -> pl.Expr:
    """Return a sentence on why a timestamp was not read and what it looks like. Formats and zone are the rules'."""
    core = bare_text(text)
    ruled = ", yyyy-MM-dd or in a format of the rule timestamps.formats"
    known = ruled if formats else " or yyyy-MM-dd (rule timestamps.formats)"
    return pl.coalesce(
        _doubt_of_formats(core, formats, zone or "UTC"),
        *(_looks_like(_number(core), unit, window) for unit in UNITS if unit != "seconds"),
        _looks_like_compact_date(core),
        _looks_like_serial_date(_number(core)),
        core.map_batches(partial(_doubt_of_forms, zone=zone), return_dtype=pl.String, is_elementwise=True),
        pl.when(core.str.contains(r"[eE]\+?[0-9]")).then(
            pl.lit("a spreadsheet may have rounded this timestamp")),
        pl.when(~is_integer(core)).then(
            pl.lit(f"not epoch seconds, RFC 3339{known}")),
    )  # fmt: skip


def rfc3339(seconds: pl.Expr) -> pl.Expr:
    """Write epoch seconds as RFC 3339 text in UTC; null where the calendar has no such year."""
    shown = seconds.is_between(-62_135_596_800, 253_402_300_799)
    return pl.from_epoch(pl.when(shown).then(seconds)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(core: pl.Expr) -> pl.Expr:
    """Return a number without its fraction, where the text is one that fits."""
    return core.str.extract(_NUMBER).cast(pl.Int64, strict=False)


def _iso(core: pl.Expr) -> pl.Expr:
    """Write the forms with a month's name and the compact one as `yyyy-MM-dd HH:mm:ss` with their zone."""
    compact = core.str.replace(_COMPACT, "${year}-${month}-${day}T${hour}:${minute}:${second}${zone}")
    return pl.coalesce(*(_iso_of_named_month(core, form) for form in _NAMED_MONTH), compact)


def _iso_of_named_month(core: pl.Expr, form: str) -> pl.Expr:
    part = core.str.extract_groups(form).struct
    numbers = {name: f"{number:02}" for number, name in enumerate(_MONTHS, 1)}
    month = part.field("month").replace_strict(numbers, default=None, return_dtype=pl.String)
    date = pl.concat_str(part.field("year"), month, part.field("day").str.zfill(2), separator="-")
    weekday = part.field("weekday")
    is_its_day = weekday.is_null() | (weekday == date.str.to_date("%Y-%m-%d", strict=False).dt.strftime("%a"))
    zone = part.field("zone").str.replace_all("[()]", "")
    return pl.when(is_its_day).then(date + " " + part.field("time") + " " + zone)


def _read_form(core: pl.Expr, zone: str | None) -> pl.Expr:
    return core.map_batches(partial(_read_forms, zone=zone), return_dtype=pl.Int64, is_elementwise=True)


def _read_forms(texts: pl.Series, *, zone: str | None) -> pl.Series:
    instant = pl.when(pl.col("agrees")).then(pl.col("instant").dt.epoch("s"))
    local = pl.lit(None, pl.Int64) if zone is None else _in_zone(pl.col("local"), zone)
    return _taken_apart(texts).select(pl.when(_HAS_ZONE).then(instant).otherwise(local)).to_series()


def _doubt_of_forms(texts: pl.Series, *, zone: str | None) -> pl.Series:
    """Say of texts that have one of the forms why they are not read."""
    missing = "the time has no zone (rule naive_zone)" if zone is None else _clock_of(zone)
    named = pl.any_horizontal(texts.str.contains(form) for form in _NAMED_MONTH)
    sentence = (
        pl.when(pl.col("date").is_null())
        .then(pl.when(named).then(pl.lit("its weekday is not the one of its date")))
        .when(pl.col("local").is_null())
        .then(pl.lit(_NO_SUCH_TIME))
        .when(~_HAS_ZONE)
        .then(pl.lit(missing))
        .when(~pl.col("agrees"))
        .then(pl.lit("its zone and its offset contradict each other"))
    )
    return _taken_apart(texts).select(sentence).to_series()


def _taken_apart(texts: pl.Series) -> pl.DataFrame:
    """Return the groups of `_FORM`, the `local` time and the `instant` they come to, and if its zones `agree`.

    It goes step by step: as one expression polars would take a second to plan it, however few there are.
    """
    written = texts.alias("text").to_frame().select(_iso(pl.col("text")).str.extract_groups(_FORM).alias("text"))
    local, offset = _local(pl.col("date"), pl.col("time").fill_null("00:00:00")), _seconds(pl.col("offset"))
    parts = written.unnest("text").with_columns(local.alias("local"))
    timed = parts.with_columns((pl.col("local") - pl.duration(seconds=offset)).alias("instant"))
    return timed.with_columns((_agrees_with_name() & _agrees_with_region(timed)).alias("agrees"))


def _agrees_with_name() -> pl.Expr:
    """Tell whether a time's offset is one that the short name or the number behind it stands for."""
    name, offset = pl.col("zone"), _seconds(pl.col("offset"))
    meanings = [(short, minutes * 60) for minutes, shorts in _OFFSETS.items() for short in shorts.split()]
    stands = pl.format("{} {}", name, offset).is_in([f"{short} {seconds}" for short, seconds in meanings])
    agrees = (
        pl.when(name.str.contains("[0-9]"))
        .then(_seconds(name) == offset)
        .when(name.is_in([short for short, _ in meanings]))
        .then(stands)
    )
    return agrees.fill_null(value=True)


def _agrees_with_region(timed: pl.DataFrame) -> pl.Series:
    """Tell of each time whether the clock of the region that it names shows it; of an unknown one nobody can."""
    if timed["region"].null_count() == timed.height:
        return pl.repeat(value=True, n=timed.height, eager=True)
    placed = timed.select("region", "local", "instant").with_row_index()
    told = [_shown_in(region, rows) for (region,), rows in placed.partition_by("region", as_dict=True).items()]
    return pl.concat(told).sort("index")["agrees"]


def _shown_in(region: str | None, rows: pl.DataFrame) -> pl.DataFrame:
    if region is None:
        return rows.select("index", pl.lit(value=True).alias("agrees"))
    try:
        clock = pl.col("instant").dt.replace_time_zone("UTC").dt.convert_time_zone(region)
        return rows.select("index", (clock.dt.replace_time_zone(None) == pl.col("local")).alias("agrees"))
    except pl.exceptions.ComputeError:  # there is no such region
        return rows.select("index", pl.lit(value=False).alias("agrees"))


def _ends_of_formats(core: pl.Expr, formats: Sequence[str]) -> tuple[pl.Expr, pl.Expr]:
    """Return the first and the last local time that the formats of a timestamp make of it."""
    local = pl.Datetime("us")
    readings = [
        core.map_batches(partial(_read_format, form=form), return_dtype=local, is_elementwise=True)
        for form in formats
    ]
    nothing = pl.lit(None, local)
    return pl.min_horizontal(nothing, *readings), pl.max_horizontal(nothing, *readings)


def _doubt_of_formats(core: pl.Expr, formats: Sequence[str], zone: str) -> pl.Expr:
    """Say of texts that have a format of the rule why they are not read."""
    first, last = _ends_of_formats(core, formats)
    either = pl.format(
        "formats of the rule timestamps.formats read it as {} or as {}",
        *(time.dt.strftime("%Y-%m-%d %H:%M:%S") for time in (first, last)),
    )
    return (
        pl.when(first != last)
        .then(either)
        .when(fits(core, formats) & first.is_null())
        .then(pl.lit(_NO_SUCH_TIME))
        .when(first.is_not_null() & _in_zone(first, zone).is_null())
        .then(pl.lit(_clock_of(zone)))
    )


def _clock_of(zone: str) -> str:
    return f"the clock of {zone} (rule naive_zone) shows this time twice or never"


def _read_format(texts: pl.Series, *, form: str) -> pl.Series:
    written = texts.str.extract_groups(pattern_of(form)).struct.unnest()

    def number(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Int64) if name in written.columns else pl.lit(0, pl.Int64)

    year = number("year") if "year" in written.columns else number("short_year") + 2000
    date = _digits("-", year, number("month"), number("day"))
    hour = _hour_of_half() if "half" in written.columns else number("hour")
    time = _digits(":", hour, number("minute"), number("second"))
    return written.select(_local(date, time)).to_series()


def _hour_of_half() -> pl.Expr:
    """Return the hour of the day of `12 AM` (0) to `11 PM` (23)."""
    shown = pl.col("half_hour").cast(pl.Int64)
    afternoon = pl.when(pl.col("half").str.to_lowercase() == "pm").then(12).otherwise(0)
    return pl.when(shown.is_between(1, 12)).then(shown % 12 + afternoon)


def _digits(mark: str, *numbers: pl.Expr) -> pl.Expr:
    return pl.concat_str(*(number.cast(pl.String).str.zfill(2) for number in numbers), separator=mark)


def _local(date: pl.Expr, time: pl.Expr) -> pl.Expr:
    """Return the time that a clock shows, with seconds or without; null where there is no such day or time."""
    seconds = (time + ":00").str.slice(0, len("HH:mm:ss"))
    return (date + "T" + seconds).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)


def _in_zone(local: pl.Expr, zone: str) -> pl.Expr:
    """Return the epoch seconds of a local time; null where the zone's clock shows it twice or never."""
    return local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.epoch("s")


def _seconds(offset: pl.Expr) -> pl.Expr:
    """Return what an offset such as `+01`, `+0100` or `+01:00` comes to; 0 where there is none."""
    digits = offset.str.replace_all("[^0-9]", "").str.pad_end(4, "0")
    hours, minutes = (digits.str.slice(at, 2).cast(pl.Int64, strict=False) for at in (0, 2))
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    return ((hours * 60 + minutes) * 60 * sign).fill_null(0)


def _looks_like(number: pl.Expr, unit: str, window: Window) -> pl.Expr:
    seconds = number.floordiv(UNITS[unit])
    now, reach = window.newest, int(_PLAUSIBLE.total_seconds())
    sentence = pl.format("looks like {}: {}, outside what Stripe takes", pl.lit(unit), rfc3339(seconds))
    return pl.when(seconds.is_between(now - reach, now + reach)).then(sentence)


def _looks_like_compact_date(core: pl.Expr) -> pl.Expr:
    digits = core.str.extract(r"^((?:19|20)[0-9]{6})(?:[0-9]{6})?$")
    return pl.format("looks like the date {} without separators", digits.str.to_date("%Y%m%d", strict=False))


def _looks_like_serial_date(number: pl.Expr) -> pl.Expr:
    day = pl.lit(_SERIAL_EPOCH.date()) + pl.duration(days=pl.when(number.is_between(36_000, 73_000)).then(number))
    return pl.format("looks like a spreadsheet's date {}", day)
