"""What the address of a page asks for: which rows, in which order, from where on. Nonsense asks for nothing."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import urlencode

from flask import current_app, request, url_for

from workers.kernel.ledger import Ledger

Choice = TypeVar("Choice", bound=StrEnum)

PAGE_LENGTH: Final = 50
"""Rows on a page."""
_LONGEST: Final = 200
"""Characters of what is looked for."""
SPANS: Final[Mapping[str, timedelta]] = {
    "1_hour": timedelta(hours=1),
    "1_day": timedelta(days=1),
    "7_days": timedelta(days=7),
    "30_days": timedelta(days=30),
}
"""Spans of time that filters offer, by their words in the address."""


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
    """Return the time that lies one of `SPANS` back."""
    asked = request.args.get(name, "")
    return now() - SPANS[asked] if asked in SPANS else None


def ahead(name: str) -> datetime | None:
    """Return the time that lies one of `SPANS` ahead."""
    asked = request.args.get(name, "")
    return now() + SPANS[asked] if asked in SPANS else None


def place() -> str | None:
    """Return from where on in its list the page is asked for."""
    return request.args.get("after")


def earlier(after: str | None) -> str:
    """Return the address of the next page, with the same filters; empty where there is none."""
    return here_with("after", after) if after else ""


def here_with(name: str, value: object) -> str:
    """Return the address of this page as it was asked for, with something else under one name.

    The query is written by hand: `url_for` takes names of its own, such as `_scheme`, for orders.
    """
    asked = {asked_for: text for asked_for, text in request.args.items() if text}
    path = url_for(request.endpoint or "", **(request.view_args or {}))
    return f"{path}?{urlencode({**asked, name: value})}"


def chosen(*names: str) -> int:
    """Return how many of the filters hold."""
    return sum(text(name) is not None for name in names)
