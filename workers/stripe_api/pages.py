"""Stripe's lists, read to the last page (Stripe docs, "Pagination")."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from workers.kernel.errors import Permanent
from workers.stripe_api.call import Calls
from workers.stripe_api.protocol import Json

PAGE: Final = 100
"""Objects on a page; Stripe gives no more."""


def v1_pages(calls: Calls, path: str, params: Json, account: str | None) -> Iterator[Json]:
    """Yield every object of a v1 list (Stripe docs, "Pagination")."""
    page = calls.get(path, params, account)
    while True:
        yield from page["data"]
        if not page.get("has_more") or not page["data"]:
            return
        page = calls.get(path, {**params, "starting_after": page["data"][-1]["id"]}, account)


def v2_pages(calls: Calls, path: str, params: Json, account: str | None) -> Iterator[Json]:
    """Yield every object of a v2 list; `next_page_url` is followed on our own base address only."""
    page = calls.get(path, params, account)
    while True:
        yield from page["data"]
        address = urlsplit(page.get("next_page_url") or "")
        if not address.path:
            return
        if address.path != path:
            raise Permanent(f"{path}: Stripe's next page is at {address.path}, which is another list")
        page = calls.get(path, dict(parse_qsl(address.query)), account)
