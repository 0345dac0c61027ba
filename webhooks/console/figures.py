"""The equation as the pages show it, and the ways that numbers and times are written there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from webhooks.console.address import now
from workers.kernel.case_title import title_of
from workers.kernel.clock import from_text
from workers.kernel.counting import counted
from workers.kernel.equation import KNOWN_BY, terms
from workers.kernel.ledger.appraisal import at_risk, why_lost
from workers.kernel.ledger.case import Case
from workers.kernel.ledger.case_facts import meters_of, open_quantities, total_of
from workers.kernel.ledger.journal import Balance, Tally
from workers.kernel.money import written
from workers.kernel.rounding import rounded_tally
from workers.kernel.timeline import sentence_of

NO_BREAK: Final = "\u00a0"


@dataclass(frozen=True)
class Term:
    """One term of the equation. `start` and `width` place it on a bar of 100."""

    name: str
    records: int
    quantity: Tally
    start: float
    width: float

    @property
    def slug(self) -> str:
        """The name as a CSS class."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Equation:
    """`failed = sum of terms`, in records and in quantity, which means something where all are of one meter."""

    records: int
    quantity: Tally
    terms: tuple[Term, ...]
    holds: bool


def equation(balance: Balance) -> Equation:
    """Lay a balance out for showing."""
    laid_out, start = [], 0.0
    for name, tally in terms(balance):
        width = 100 * tally.records / balance.failed.records if balance.failed.records else 0.0
        laid_out.append(Term(name, tally.records, tally, round(start, 3), round(width, 3)))
        start += width
    return Equation(balance.failed.records, balance.failed, tuple(laid_out), holds=balance.holds())


@dataclass(frozen=True)
class Meter:
    """What a case has of one meter: all of it, and what is open. `name` is empty where none is known."""

    name: str
    all: Tally
    open: Tally


def meters(case: Case) -> list[Meter]:
    """Return a case's quantities, each in the unit of its meter: over meters only records are ever added."""
    of = meters_of(case)
    still = dict(open_quantities(of))
    return [Meter(name, total_of(buckets), still.get(name, Tally())) for name, buckets in of.items()]


def title(case: Case) -> str:
    """Write what happened to whom."""
    return title_of(case, now())


def eye(tally: Tally) -> str:
    """Write a quantity rounded; `tally.shown` has all of it."""
    return rounded_tally(tally).replace("-", "\u2212", 1)


def grouped(number: int | str) -> str:
    """Write a whole or decimal number with commas, as titles and money have them: `-12,345.678`; words stay."""
    text = str(number)
    if not text[-1:].isdigit():
        return text
    sign, digits = ("\u2212", text[1:]) if text.startswith("-") else ("", text)
    whole, _, fraction = digits.partition(".")
    shown = f"{sign}{int(whole):,}"
    return f"{shown}.{fraction.rstrip('0')}" if fraction.strip("0") else shown


def moment(at: datetime | None) -> str:
    """Write a time as `2026-11-21 09:41:07 UTC`, or a dash."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "\u2013"


def duration(span: timedelta) -> str:
    """Write a length of time in its two largest units: `4 h 55 min`."""
    seconds = int(span.total_seconds())
    for large, size, small, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {large} {seconds % size // part} {small}"
    return f"{seconds} s"


def left(span: timedelta) -> str:
    """Write how long it is until something is lost."""
    return duration(span) if span > timedelta(0) else "over"


def time_left(case: Case) -> str:
    """Write how long it is until usage of a case is lost; nothing where that is not known."""
    return left(case.deadline - now()) if case.deadline else ""


def pretty_json(raw: bytes) -> str:
    """Indent a JSON body; what is no JSON is shown as it is."""
    try:
        return json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")


def cell(text: str | None) -> str:
    """Write what stands in a cell of a record, in quotes where nobody would see the blanks at its ends."""
    if text is None:
        return "nothing"
    return text if text and text == text.strip() else f"'{text.replace(' ', NO_BREAK)}'"


def words(name: str) -> str:
    """Write an identifier such as `needs_person` as words."""
    return name.replace("_", " ")


def known_by(how: str) -> str:
    """Say how the rows of refused records are known."""
    return KNOWN_BY[how]


_SHOWN: tuple[Callable[..., Any], ...] = (
    grouped,
    moment,
    duration,
    left,
    time_left,
    why_lost,
    at_risk,
    counted,
    pretty_json,
    words,
    equation,
    meters,
    title,
    eye,
    written,
    sentence_of,
    from_text,
    cell,
    known_by,
)
FILTERS: Mapping[str, Callable[..., Any]] = {show.__name__: show for show in _SHOWN}
