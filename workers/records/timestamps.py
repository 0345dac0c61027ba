"""Times: the window in which Stripe takes a record, and the one reading of a timestamp that is no epoch seconds.

Stripe takes records up to 35 days old and 5 minutes ahead (Stripe docs, "Record usage with the API"); its files
carry epoch seconds (Stripe docs, "Record usage in bulk"), the Dashboard also takes `yyyy-MM-dd` and
`yyyy-MM-dd'T'HH:mm:ssZ` (Stripe docs, "Record usage in bulk with the Dashboard").

A text has one reading when it is

- digits that are seconds, milli-, micro- or nanoseconds within the window: the units lie a factor of 1000 apart and
  the window is narrow, so one unit at most fits;
- RFC 3339 or one of the Dashboard's forms; a date alone is midnight UTC; what is finer than a second is cut off;
- a local time, where a rule names its zone and the zone's clock shows that time exactly once.

Leap seconds, `24:00:00` and dates that the calendar lacks have none. Everything here is vectorised.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from workers.records.quantities import bare_text
from workers.records.schema import MAX_AGE, MAX_AHEAD

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
UNITS: Final = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}

_INTEGER: Final = r"^-?[0-9]+$"
_NUMBER: Final = r"^[0-9]+(\.[0-9]+)?$"
_DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_OFFSET: Final = r"[Zz]|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9]"
_FORM: Final = rf"^(?P<date>{_DATE})(?:[Tt ](?P<time>{_TIME})(?:\.[0-9]+)?(?P<offset>{_OFFSET})?)?$"
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
    return pl.coalesce(_read_number(core, window), _read_form(core, zone))


def doubt(text: pl.Expr, window: Window) -> pl.Expr:
    """Return a sentence on why a timestamp was not read and what it looks like."""
    core = bare_text(text)
    number = pl.when(core.str.contains(_NUMBER)).then(core.str.extract(r"^([0-9]+)")).cast(pl.Int64, strict=False)
    return pl.coalesce(
        *(_looks_like(number, unit, window) for unit in UNITS if unit != "seconds"),
        _looks_like_compact_date(core),
        _looks_like_serial_date(number),
        pl.when(core.str.contains(r"[eE]\+?[0-9]")).then(
            pl.lit("a spreadsheet may have rounded this timestamp")),
        pl.when(core.str.extract_groups(_FORM).struct.field("time").is_not_null()).then(
            pl.lit("the time has no zone (rule naive_zone), or its zone's clock shows it twice or never")),
        pl.when(~is_integer(core)).then(
            pl.lit("not epoch seconds, RFC 3339 or yyyy-MM-dd")),
    )  # fmt: skip


def rfc3339(seconds: pl.Expr) -> pl.Expr:
    """Write epoch seconds as RFC 3339 text in UTC; null where the calendar has no such year."""
    shown = seconds.is_between(-62_135_596_800, 253_402_300_799)
    return pl.from_epoch(pl.when(shown).then(seconds)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_number(core: pl.Expr, window: Window) -> pl.Expr:
    number = pl.when(core.str.contains(_NUMBER)).then(core.str.extract(r"^([0-9]+)")).cast(pl.Int64, strict=False)
    units = [number.floordiv(unit) for unit in UNITS.values()]
    return pl.coalesce(*(pl.when(window.holds(seconds)).then(seconds) for seconds in units))


def _read_form(core: pl.Expr, zone: str | None) -> pl.Expr:
    part = core.str.extract_groups(_FORM).struct
    time = pl.when(part.field("date").is_not_null()).then(part.field("time").fill_null("00:00:00"))
    local = (part.field("date") + "T" + time).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    is_utc = part.field("time").is_null() | part.field("offset").is_not_null()
    absolute = local.dt.epoch("s") - _offset_seconds(part.field("offset"))
    if zone is None:
        return pl.when(is_utc).then(absolute)
    zoned = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return pl.when(is_utc).then(absolute).otherwise(zoned.dt.epoch("s"))


def _offset_seconds(offset: pl.Expr) -> pl.Expr:
    digits = offset.str.replace_all("[^0-9]", "")
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2, 2).cast(
        pl.Int64, strict=False
    )
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    return (minutes * 60 * sign).fill_null(0)


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
