"""Addresses of the console's pages, for who reads a message elsewhere."""

from collections.abc import Mapping
from typing import Final

from workers.pipeline.context import Context

_SUBJECTS: Final[Mapping[str, str]] = {
    "case_": "/cases/",
    "evt_": "/events/",
    "given_": "/events/",
    "act_": "/acts/",
}
"""How the ids begin of what has a page of its own, and where these lie."""


def page(context: Context, path: str) -> str | None:
    """Return the address of a page of the console; None where CONSOLE_URL does not say where it is."""
    base = context.settings.console_url
    return f"{base.rstrip('/')}/console{path}" if base else None


def page_of(context: Context, subject: str) -> str | None:
    """Return the address of the page of a case, an event or an act; None for what has none."""
    place = next((place for start, place in _SUBJECTS.items() if subject.startswith(start)), None)
    return page(context, place + subject) if place else None
