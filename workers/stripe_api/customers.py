"""Which customers exist: read from the list where many are asked for, else one by one."""

import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from workers.kernel.clock import named_moment
from workers.stripe_api.call import CONCURRENCY, PAGE, Calls, v1_pages
from workers.stripe_api.errors import BadRequest, NotFound
from workers.stripe_api.protocol import Customer, Json

WORTH_LISTING: Final = 500
"""Customers from which on the list is read first: a page shows a hundred for the price of one."""
PAGES_PER_CUSTOMER: Final = 0.1
"""Pages read for each customer asked for; so a list that shows none of them costs a tenth more."""
_ID: Final = re.compile(r"[A-Za-z0-9_.\-]{1,255}", re.ASCII)
_DOTS: Final = frozenset({".", ".."})


def find_customers(calls: Calls, ids: Collection[str], account: str | None) -> dict[str, Customer]:
    """Return what Stripe knows of these ids, deleted customers among them.

    What cannot be an id is not sent: it would name another path.
    """
    askable = {name for name in ids if _ID.fullmatch(name) and name not in _DOTS}
    listed = _listed(calls, askable, account) if len(askable) >= WORTH_LISTING else {}
    unlisted = sorted(askable - listed.keys())
    with ThreadPoolExecutor(CONCURRENCY, "customers") as threads:
        found = threads.map(lambda name: _customer(calls, name, account), unlisted)
        shown = {name: customer for name, customer in zip(unlisted, found, strict=True) if customer is not None}
    return {
        name: Customer(named_moment(customer.get("created")), deleted=bool(customer.get("deleted")))
        for name, customer in (listed | shown).items()
    }


def search_customers(calls: Calls, key: str, value: str, account: str | None) -> list[str]:
    """Return the customers with this metadata (Stripe docs, "Search": case is ignored there, but not here)."""
    query = f"metadata['{_escaped(key)}']:'{_escaped(value)}'"
    params: Json = {"query": query, "limit": PAGE}
    found: list[str] = []
    while True:
        page = calls.get("/v1/customers/search", params, account, calls.paces.search)
        found += [one["id"] for one in page["data"] if _carries(one, key, value)]
        if not page.get("has_more") or not page.get("next_page"):
            return found
        params = {**params, "page": page["next_page"]}


def _listed(calls: Calls, wanted: set[str], account: str | None) -> dict[str, Json]:
    """Return those that show up in the newest customers; the others may exist as well."""
    found: dict[str, Json] = {}
    newest = v1_pages(calls, "/v1/customers", {"limit": PAGE}, account)
    for customer in islice(newest, int(len(wanted) * PAGES_PER_CUSTOMER) * PAGE):
        if customer["id"] in wanted and not customer.get("deleted"):
            found[customer["id"]] = customer
        if len(found) == len(wanted):
            break
    return found


def _customer(calls: Calls, name: str, account: str | None) -> Json | None:
    """Return whose id it is or was, if anybody's; an account that v2 does not serve is none that we know of."""
    is_account = name.startswith("acct_")
    path, absent = ("/v2/core/accounts", BadRequest) if is_account else ("/v1/customers", NotFound)
    try:
        return calls.get(f"{path}/{name}", {}, account)
    except absent:
        return None


def _carries(customer: Json, key: str, value: str) -> bool:
    metadata = customer.get("metadata") or {}
    return not customer.get("deleted") and metadata.get(key) == value


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
