"""If these fail, a person is shown money that is not at risk, or too little of it, and decides by that."""

from decimal import Decimal

from workers.kernel.money import Amount, UnitPrice, added, from_json, to_json, worth, written

TINY = UnitPrice("usd", Decimal("0.000000000001"), Decimal("0.000000000001"))
LARGE = Decimal("123456789012345678901234567890.123456789012345")


def test_a_single_price_gives_one_exact_amount() -> None:
    """A float, or Decimal's own 28 digits, would lose the end of it."""
    [amount] = worth([TINY], LARGE).values()
    assert amount.low == amount.high == Decimal("1234567890123456.78901234567890123456789012345")
    assert from_json(to_json({"usd": amount})) == {"usd": amount}


def test_minor_units_become_the_units_of_their_currency() -> None:
    for currency, shown in (("usd", "USD 12.34"), ("jpy", "JPY 1,234"), ("kwd", "KWD 1.234"), ("isk", "ISK 12.34")):
        price = UnitPrice(currency, Decimal(1), Decimal(1))
        assert written(worth([price], Decimal("1234.50") if currency in {"usd", "isk"} else Decimal(1234))) == shown


def test_several_prices_or_tiers_of_one_currency_are_a_range_from_the_cheapest_to_the_dearest() -> None:
    prices = [UnitPrice("usd", Decimal(1), Decimal(1)), UnitPrice("usd", Decimal("0.5"), Decimal(3))]
    assert worth(prices, Decimal(1000)) == {"usd": Amount(Decimal(5), Decimal(30))}
    assert written(worth(prices, Decimal(1000))) == "USD 5.00 to 30.00"
    assert worth(prices, Decimal(-1000)) == {"usd": Amount(Decimal(-30), Decimal(-5))}


def test_currencies_are_never_added_and_of_several_for_one_meter_nobody_may_pay_one() -> None:
    both = worth([UnitPrice("usd", Decimal(2), Decimal(2)), UnitPrice("eur", Decimal(1), Decimal(1))], Decimal(100))
    assert both == {"usd": Amount(Decimal(0), Decimal(2)), "eur": Amount(Decimal(0), Decimal(1))}
    sums = added([both, worth([UnitPrice("eur", Decimal(5), Decimal(5))], Decimal(100))])
    assert written(sums) == "EUR 5.00 to 6.00 and USD 0.00 to 2.00"


def test_what_is_less_than_the_smallest_coin_is_not_shown_as_nothing() -> None:
    assert written({"usd": Amount(Decimal("0.004"), Decimal("0.004"))}) == "USD <0.01"
    assert written({}) == ""
