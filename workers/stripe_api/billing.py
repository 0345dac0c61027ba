"""What usage costs and when it is invoiced: prices of a meter, and the billing periods of a customer.

Sources: Stripe docs, "List all prices", "The Price object", "List subscriptions", "The Subscription Item object".
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from itertools import islice
from typing import Final

from workers.kernel.clock import named_moment
from workers.kernel.money import UnitPrice
from workers.stripe_api.call import PAGE, Calls, v1_pages
from workers.stripe_api.errors import BadRequest
from workers.stripe_api.protocol import Json

MOST_PRICES: Final = 500
"""Of one meter, the latest first."""
MOST_SUBSCRIPTIONS: Final = 200
"""Of one customer, the latest first."""
_DIGITS: Final = 40


def meter_prices(calls: Calls, meter_id: str, account: str | None) -> Sequence[UnitPrice]:
    """Return the active prices of a meter."""
    params: Json = {"active": True, "recurring": {"meter": meter_id}, "expand": ["data.tiers"], "limit": PAGE}
    return unit_prices(islice(v1_pages(calls, "/v1/prices", params, account), MOST_PRICES))


def unit_prices(prices: Iterable[Json]) -> Sequence[UnitPrice]:
    """Return what one more unit costs by each price that tells it.

    The fixed fee of a tier is left out: one more unit mostly adds none. Of a price per package a unit is its share
    of one: whether a package is begun depends on all usage of the period.
    """
    return [found for price in prices if (found := _unit_price(price)) is not None]


def _unit_price(price: Json) -> UnitPrice | None:
    tiers = price.get("tiers") if price.get("billing_scheme") == "tiered" else None
    rates = [_rate(tier) or Decimal(0) for tier in tiers] if tiers else [_rate(price)]
    known = [rate for rate in rates if rate is not None]
    if not known:
        return None
    package = Decimal((price.get("transform_quantity") or {}).get("divide_by") or 1)
    with localcontext(prec=_DIGITS):
        return UnitPrice(str(price["currency"]).lower(), min(known) / package, max(known) / package)


def _rate(priced: Json) -> Decimal | None:
    """Return the minor units that one unit costs; the decimal text is exact where the whole number is not given."""
    exact, whole = priced.get("unit_amount_decimal"), priced.get("unit_amount")
    told = whole if exact is None else exact
    return None if told is None else Decimal(str(told))


def period_end(calls: Calls, customer: str, account: str | None) -> datetime | None:
    """Return when the first of a customer's current metered periods ends; None where he has none, or is nobody."""
    who = {"customer_account" if customer.startswith("acct_") else "customer": customer}
    try:
        listed = v1_pages(calls, "/v1/subscriptions", {**who, "limit": PAGE}, account)
        return min(_ends(islice(listed, MOST_SUBSCRIPTIONS)), default=None)
    except BadRequest:
        return None


def _ends(subscriptions: Iterable[Json]) -> Iterator[datetime]:
    """Yield the ends of the periods that usage goes into; before items had their own, the subscription's was it."""
    for subscription in subscriptions:
        for item in (subscription.get("items") or {}).get("data") or ():
            recurring = (item.get("price") or {}).get("recurring") or {}
            end = named_moment(item.get("current_period_end") or subscription.get("current_period_end"))
            if recurring.get("usage_type") == "metered" and end is not None:
                yield end
