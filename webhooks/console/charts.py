"""Charts as shapes: where each bar, line and word stands on a canvas, which a template writes as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from webhooks.console.figures import grouped
from workers.kernel.ledger.days import Day
from workers.kernel.ledger.journal import IN_FLIGHT, WAITING, Bucket

WIDTH: Final = 360
"""As wide as a chart is on a phone and on a desk, so that its words are as large as they say."""
HEIGHT: Final = 150
_TOP: Final = 18
"""Room above the highest bar, for the number it stands for."""
_LABEL: Final = 16
"""Room for a line of words."""
_ROW: Final = 34
"""Height of a row of the chart by codes: its name, and its bar below."""
_BAR: Final = 12
MOST_CODES: Final = 8
_LONGEST: Final = 44
"""Characters of a code's name; it does not wrap."""


@dataclass(frozen=True)
class Bar:
    """A rectangle of a series, with what it says."""

    series: str
    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True)
class Word:
    """Words at a point; `end` has them end there."""

    x: float
    y: float
    text: str
    end: bool = False


@dataclass(frozen=True)
class Chart:
    """What stands on a canvas of `WIDTH` by `height`. `points` is a line through all days, of the series `line`.

    `summary` says in words what is to be seen.
    """

    height: int
    summary: str
    bars: Sequence[Bar] = ()
    words: Sequence[Word] = ()
    points: str = ""
    grid: Sequence[float] = ()


def refused_and_recovered(days: Sequence[Day]) -> Chart:
    """Draw two bars a day."""
    most = max((max(day.refused, day.recovered) for day in days), default=0)
    step = WIDTH / max(len(days), 1)
    bars = [
        _bar(
            series,
            number * step + step * offset,
            step * 0.38,
            records,
            most,
            f"{day.day}: {grouped(records)} {series}",
        )
        for number, day in enumerate(days)
        for series, offset, records in (("refused", 0.1, day.refused), ("recovered", 0.5, max(day.recovered, 0)))
        if records
    ]
    refused, recovered = sum(day.refused for day in days), sum(day.recovered for day in days)
    summary = (
        f"In {len(days)} days {grouped(refused)} records were refused and {grouped(recovered)} recovered; "
        f"at most {grouped(most)} a day."
    )
    return Chart(HEIGHT + _LABEL, summary, bars, _scale(days, most), grid=(_TOP, HEIGHT))


def waiting(days: Sequence[Day]) -> Chart:
    """Draw what waits at the end of each day as a line."""
    most = max((day.waiting for day in days), default=0)
    step = WIDTH / max(len(days) - 1, 1)
    points = " ".join(f"{number * step:.1f},{_height_of(day.waiting, most):.1f}" for number, day in enumerate(days))
    now, before = (days[-1].waiting, days[0].waiting) if days else (0, 0)
    summary = (
        f"{grouped(now)} records wait now; {len(days)} days ago {grouped(before)} did, at most {grouped(most)}."
    )
    return Chart(HEIGHT + _LABEL, summary, words=_scale(days, most), points=points, grid=(_TOP, HEIGHT))


def by_code(codes: Mapping[str, Mapping[Bucket, int]]) -> Chart:
    """Draw a bar for each code, the most records first: what was recovered of it, is under way and waits."""
    parts = {code: _parts(buckets) for code, buckets in codes.items()}
    ranked = sorted(parts, key=lambda code: (-sum(parts[code].values()), code))
    most = max((sum(part.values()) for part in parts.values()), default=0)
    bars, words = list[Bar](), list[Word]()
    for row, code in enumerate(ranked[:MOST_CODES]):
        top, x = row * _ROW, 0.0
        name = code if len(code) <= _LONGEST else f"{code[: _LONGEST - 1]}…"
        words += [
            Word(0, top + _BAR, name or "not known"),
            Word(WIDTH, top + _BAR, grouped(sum(parts[code].values())), end=True),
        ]
        for series, records in parts[code].items():
            width = WIDTH * records / most if most else 0.0
            says = f"{name}: {grouped(records)} {series.replace('-', ' ')}"
            bars.append(Bar(series, round(x, 2), top + _LABEL, round(width, 2), _BAR, says))
            x += width
    more = f" {len(ranked) - MOST_CODES} more codes are not drawn." if len(ranked) > MOST_CODES else ""
    told = "; ".join(f"{code or 'not known'}: {_told(parts[code])}" for code in ranked[:MOST_CODES])
    return Chart(max(len(ranked[:MOST_CODES]), 1) * _ROW, f"{told}.{more}", bars, words)


def _told(part: Mapping[str, int]) -> str:
    return ", ".join(f"{grouped(records)} {series.replace('-', ' ')}" for series, records in part.items())


def _parts(buckets: Mapping[Bucket, int]) -> dict[str, int]:
    sums = {
        "recovered": buckets.get(Bucket.CONFIRMED, 0),
        "in-flight": sum(buckets.get(bucket, 0) for bucket in IN_FLIGHT),
        "waiting": sum(buckets.get(bucket, 0) for bucket in WAITING),
        "corrected": buckets.get(Bucket.CORRECTED, 0),
        "written-off": buckets.get(Bucket.WRITTEN_OFF, 0),
    }
    return {series: records for series, records in sums.items() if records > 0}


def _bar(series: str, x: float, width: float, records: int, most: int, says: str) -> Bar:
    top = _height_of(records, most)
    return Bar(series, round(x, 2), round(top, 2), round(width, 2), round(HEIGHT - top, 2), says)


def _height_of(records: int, most: int) -> float:
    return HEIGHT - (HEIGHT - _TOP) * records / most if most else HEIGHT


def _scale(days: Sequence[Day], most: int) -> list[Word]:
    if not days:
        return []
    ends = Word(0, HEIGHT + _BAR, f"{days[0].day}"), Word(WIDTH, HEIGHT + _BAR, f"{days[-1].day}", end=True)
    return [Word(0, _BAR, grouped(most)), *ends]
