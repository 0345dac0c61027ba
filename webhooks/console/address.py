"""What the address of a page asks for: which rows, in which order, from where on. Nonsense asks for nothing."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from flask import current_app, request

from workers.kernel.clock import from_text
from workers.kernel.ledger import Ledger

Choice = TypeVar("Choice", bound=StrEnum)

PAGE_LENGTH: Final = 50
"""Rows on a page."""
_LONGEST: Final = 200
"""Characters of what is looked for."""
SPANS: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""Spans of time that a filter offers."""


def the_ledger() -> Ledger:
    """Return the ledger that the pages show."""
    ledger: Ledger = current_app.extensions["console"]
    return ledger


def now() -> datetime:
    """Return the present by the app's clock."""
    moment: datetime = current_app.extensions["clock"]()
    return moment


def text(name: str) -> str | None:
    """Return what is asked for under a name; None for nothing."""
    return request.args.get(name, "").strip()[:_LONGEST] or None


def choice(name: str, of: type[Choice]) -> Choice | None:
    """Return which of some words is asked for."""
    asked = request.args.get(name)
    return of(asked) if asked in set(of) else None


def ago(name: str) -> datetime | None:
    """Return the time that lies a span of `SPANS` back, or a time by itself."""
    asked = request.args.get(name, "")
    if asked in SPANS:
        return now() - SPANS[asked]
    try:
        return from_text(asked) if asked else None
    except ValueError:
        return None


def asked() -> dict[str, str]:
    """Return all that is asked for, but for the place in the list: what a link to the next page says again."""
    return {name: value for name, value in request.args.items() if name != "after" and value}
