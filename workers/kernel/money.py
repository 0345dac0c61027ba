"""What usage is worth: exact amounts, a range where it depends, per currency and never added over currencies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final, Self

ZERO_DECIMAL: Final = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()  # noqa: SIM905 (it is one list of names)
)
"""Currencies whose minor unit is the unit itself; ISK and UGX are not (Stripe docs, "Supported currencies")."""
THREE_DECIMAL: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
DIGITS: Final = 400
"""Enough for any quantity times any price to be exact."""


@dataclass(frozen=True)
class Amount:
    """From `low` to `high` of one currency, in its own units (dollars, yen); exact, and equal where it is one."""

    low: Decimal
    high: Decimal

    def __add__(self, other: Self) -> "Amount":
        with localcontext(prec=DIGITS):
            return Amount(self.low + other.low, self.high + other.high)


Money = Mapping[str, Amount]
"""Currency, in lower case as Stripe writes it -> amount."""
NO_MONEY: Final[Money] = {}


@dataclass(frozen=True)
class UnitPrice:
    """What one more unit costs by one price, in minor units: `low` in its cheapest tier, `high` in its dearest."""

    currency: str
    low: Decimal
    high: Decimal


def prices_to_json(prices: Iterable[UnitPrice]) -> list[list[str]]:
    """Return prices as JSON: [currency, low, high], exact decimal text."""
    return [[one.currency, _plain(one.low), _plain(one.high)] for one in prices]


def prices_from_json(data: Iterable[Sequence[str]]) -> list[UnitPrice]:
    """Read what `prices_to_json` made."""
    return [UnitPrice(currency, Decimal(low), Decimal(high)) for currency, low, high in data]


def decimals(currency: str) -> int:
    """Return how many decimals a currency's amounts have, and so how many minor units make one of it."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def worth(prices: Iterable[UnitPrice], units: Decimal) -> Money:
    """Return what units of one meter cost by any one of its prices.

    Of prices in several currencies nobody knows here which one a customer pays: each amount then begins at nothing.
    """
    by_currency: dict[str, Amount] = {}
    for price in prices:
        with localcontext(prec=DIGITS):
            ends = [(units * end).scaleb(-decimals(price.currency)) for end in (price.low, price.high)]
        there = by_currency.get(price.currency)
        ends += [there.low, there.high] if there else []
        by_currency[price.currency] = Amount(min(ends), max(ends))
    if len(by_currency) < 2:
        return by_currency
    nothing = Decimal(0)
    return {name: Amount(min(one.low, nothing), max(one.high, nothing)) for name, one in by_currency.items()}


def added(moneys: Iterable[Money]) -> Money:
    """Return the sum, each currency by itself."""
    sums: dict[str, Amount] = {}
    for money in moneys:
        for currency, amount in money.items():
            sums[currency] = sums[currency] + amount if currency in sums else amount
    return sums


def share(money: Money, part: Decimal, whole: Decimal) -> Money:
    """Return what a part of something is worth, of which the whole is worth this; each end of a range by itself.

    So what is counted off and was added before leaves nothing, whatever its price is by now.
    """
    with localcontext(prec=DIGITS):
        return {name: Amount(one.low * part / whole, one.high * part / whole) for name, one in money.items()}


def written(money: Money) -> str:
    """Write money for the eye: `USD 1,234.50`, `USD 10.00 to 25.00 and EUR 3.00`; empty for none."""
    return " and ".join(
        f"{currency.upper()} {_range(amount, decimals(currency))}" for currency, amount in sorted(money.items())
    )


def _range(amount: Amount, places: int) -> str:
    low, high = _rounded(amount.low, places), _rounded(amount.high, places)
    return low if low == high else f"{low} to {high}"


def _rounded(amount: Decimal, places: int) -> str:
    smallest = Decimal(1).scaleb(-places)
    if amount and abs(amount) < smallest:
        return f"{'-' if amount < 0 else ''}<{smallest:f}"
    with localcontext(prec=DIGITS):
        return f"{amount.quantize(smallest, ROUND_HALF_EVEN):,f}"


def to_json(money: Money) -> dict[str, Any]:
    """Return it as JSON: currency -> [low, high], exact decimal text."""
    return {currency: [_plain(one.low), _plain(one.high)] for currency, one in money.items()}


def from_json(data: Mapping[str, Any] | None) -> Money:
    """Read what `to_json` made."""
    return {currency: Amount(Decimal(low), Decimal(high)) for currency, (low, high) in (data or {}).items()}


def _plain(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
