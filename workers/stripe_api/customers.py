"""Which customers exist, asked one by one because Stripe has no call for many."""

import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from workers.stripe_api.api import Json
from workers.stripe_api.calls import CONCURRENCY, Calls
from workers.stripe_api.errors import BadRequest, NotFound

SEARCH_PAGE: Final = 100
_ID: Final = re.compile(r"[A-Za-z0-9_.\-]{1,255}", re.ASCII)
_DOTS: Final = frozenset({".", ".."})


def existing_customers(calls: Calls, ids: Collection[str], account: str | None) -> set[str]:
    """Return those ids that exist. What cannot be an id is not sent: it would name another path."""
    askable = sorted({name for name in ids if _ID.fullmatch(name) and name not in _DOTS})

    def exists(name: str) -> bool:
        return _exists(calls, name, account)

    with ThreadPoolExecutor(CONCURRENCY, "customers") as threads:
        return {name for name, found in zip(askable, threads.map(exists, askable), strict=True) if found}


def search_customers(calls: Calls, key: str, value: str, account: str | None) -> list[str]:
    """Return the customers with this metadata (Stripe docs, "Search": case is ignored there, but not here)."""
    query = f"metadata['{_escaped(key)}']:'{_escaped(value)}'"
    params: Json = {"query": query, "limit": SEARCH_PAGE}
    found: list[str] = []
    while True:
        page = calls.get("/v1/customers/search", params, account, calls.paces.search)
        found += [one["id"] for one in page["data"] if _carries(one, key, value)]
        if not page.get("has_more") or not page.get("next_page"):
            return found
        params = {**params, "page": page["next_page"]}


def _exists(calls: Calls, name: str, account: str | None) -> bool:
    if name.startswith("acct_"):
        return _found(lambda: calls.get(f"/v2/core/accounts/{name}", {}, account), BadRequest)
    return _found(lambda: calls.get(f"/v1/customers/{name}", {}, account), NotFound)


def _found(ask: Callable[[], Json], absent: type[BadRequest]) -> bool:
    """Tell whether `ask` finds something; an account that v2 does not serve is none that we know to exist."""
    try:
        return not ask().get("deleted", False)
    except absent:
        return False


def _carries(customer: Json, key: str, value: str) -> bool:
    metadata = customer.get("metadata") or {}
    return not customer.get("deleted") and metadata.get(key) == value


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
